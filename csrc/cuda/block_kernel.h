// The arguments of the kernels that draw rows of whole images in one launch.
//
// A block of threads, or a cluster of blocks, draws one image. In each image row it alternates between row steps, which
// compute all columns together, and column programs, which run their steps at one column after the other.
//
// In shared memory, a buffer is a ring of 1, 2, 4 ... columns. The steps of a column are divided into rounds, in each
// of which a warp runs at most one step. A BlockRecord tells the warp the step, and where the operands lie in the
// rings. The records repeat after `period` columns. The last warp runs no steps, but copies columns between shared and
// global memory.
//
// A single block keeps all weights of the column programs in shared memory. In a cluster, each block computes a share
// of the outputs of each linear and cell step, and stores them in the rings of all blocks. It loads its weights again
// for each column (weight_stream.cuh). A buffer that steps only read, at the current column, then stays in global
// memory.
#pragma once
#include <cstdint>

#include "../host_device.h"

namespace pixelrnn::cuda {

constexpr int kRecordTaps = 2;
constexpr int kStreamStages = 8;

// A place is the index of a value in the rings. Absent operands have a place of zeros. The place -1 means that no step
// reads the result. The place -2 - i means BlockProgram::operands[i] in global memory.
enum class BlockKind : int { idle, linear, cell, pointwise, draw, move };
struct alignas(16) BlockRecord {
  unsigned flags;
  int first_thread, threads;  // this warp's first thread in the step, and the step's threads
  int count, quads;           // outputs, units or logits; end of the round's quads
  int weights, channels;      // index of the first weight (in the last warp, of its first move); channels of all taps
  int x[kRecordTaps], width[kRecordTaps];  // places and channels of the first taps
  int more_taps;                           // index of the third tap in BlockProgram::taps
  int base, output;                        // places
  int place[5];                            // places, indexed by the enums below
  int first_quad;                          // the round computes quads first_quad to quads - 1 of its block's share

  PIXELRNN_HOST_DEVICE BlockKind kind() const { return BlockKind(flags & 7); }
  PIXELRNN_HOST_DEVICE bool is_barrier() const { return flags >> 3 & 1; }
  PIXELRNN_HOST_DEVICE bool is_first() const { return flags >> 4 & 1; }  // first round of a column
  // 2^log_lanes() lanes compute four outputs of a linear step, or the four gates of a unit.
  PIXELRNN_HOST_DEVICE int log_lanes() const { return flags >> 5 & 7; }
  PIXELRNN_HOST_DEVICE int taps() const { return flags >> 8 & 15; }  // at least 1 in linear and cell steps
  // Tells whether a ReLU follows the step itself (i = 0), or its fused pointwise step i - 1.
  PIXELRNN_HOST_DEVICE bool has_relu(int i) const { return flags >> (12 + i) & 1; }
  PIXELRNN_HOST_DEVICE bool ends_stage() const { return flags >> 15 & 1; }
  PIXELRNN_HOST_DEVICE bool exchanges() const { return flags >> 16 & 1; }

  void set(BlockKind kind, int log_lanes, size_t taps) {
    flags |= unsigned(kind) | unsigned(log_lanes) << 5 | unsigned(taps) << 8;
  }
  void set_relu(int i) { flags |= 1u << (12 + i); }
  void set_round(bool is_barrier, bool is_first, bool ends_stage, bool exchanges) {
    flags |= unsigned(is_barrier) << 3 | unsigned(is_first) << 4 | unsigned(ends_stage) << 15;
    flags |= unsigned(exchanges) << 16;
  }
};
static_assert(sizeof(BlockRecord) == 80, "records are read in pieces of 16 bytes");
// Indices of BlockRecord::place in a cell step. place[kGateStride] is the distance between two gates of `base`. A
// linear step has the right operand of its fused pointwise step i in place[2 * i], and the output in place[2 * i + 1].
// A pointwise step has its right operand in place[0].
enum { kGateStride, kCarried, kAddend, kC, kH };
// Indices in a draw, of numbers that are no places.
enum { kColour, kLastLevel };
// Indices in the last warp's record in a cluster: bytes of results that a block receives in the stage that begins, and
// stages of weights that earlier rounds have freed.
enum { kExpected, kFreed };
struct BlockTap { int x, width; };
template <class T> struct alignas(16) BlockOperand {
  const T* data;        // [columns][images][channels]
  int channels, first;  // number of channels, and the operand's first channel
};

// A copy by the last warp. `load` copies up to 128 channels of the next column to the ring, `store` copies the previous
// column to global memory, and `fetch` loads a FetchedValue for each colour of the next column.
enum class MoveKind : int { none, load, store, fetch };
template <class T> struct alignas(16) BlockMove {
  MoveKind kind;
  int count, place;  // channels, and the place of the first
  T* row;            // the copied channels begin at row[(column * images + image) * channels]
  int channels;
};
// A buffer of which a block loads the columns to the left of the row, and if `is_ahead` also the row's first column.
template <class T> struct BlockLoad {
  const T* data;
  int channels, place, mask;  // the ring has mask + 1 columns
  int is_ahead;
};
struct alignas(16) FetchedValue {
  double uniform;
  int value, is_known;
};
template <class T> struct WeightCopy {
  const T* from;
  int64_t to;
  int count;
};

// A column program. The 64-bit members are offsets of lists in BlockArgs::memory, in bytes.
template <class T> struct BlockProgram {
  int rounds, period, warps, loads, operand_count;
  int moves_per_round, moves_per_column;
  int64_t records, moves, taps, load, operands;
  // In a cluster, the weights of a column are `stages` stages of BlockArgs::stream, from first_stage on.
  int stages, first_stage;
};

template <class T> struct RowTapArgs {
  const T* source;
  int channels, unused;
};
// Buffers are [columns][images][channels].
template <class T> struct RowStepArgs {
  int is_copy, is_mirrored;
  T* output;
  int columns, outputs, taps, channels, first_tap;
  const T *bias, *map, *packed;  // packed is [quads][channels of all taps][4]
  int64_t map_image, map_channel, map_row, map_column;
};

template <class T> struct BlockArgs {
  BlockProgram<T> main, mirrored;
  // The lists of all programs. Each block copies the first `bytes` bytes to shared memory.
  const unsigned char* memory;
  int64_t bytes, row_steps, row_taps, weights;
  int before_row, after_row;  // numbers of row steps
  int weight_copies, weight_values, ring_values;
  int blocks;  // in a cluster, or 1
  // In a cluster, the ring of weights begins at byte stream_offset of shared memory, and mbarriers follow it. A stage
  // has 1 << log_stage weights. `stream` is [blocks][stages of both programs].
  int stream_offset, log_stage;
  const T* stream;
  int images, width, height, margin, colours, logits;  // logits of one colour
  int row0, row1;
  double temperature;
  const double* uniform;  // uniform, known and values: [images][colours][height][width]
  const uint8_t* known;
  int64_t* values;
  T* logit_map;  // null, or receives all logits, [height][width][images][colours * logits]
};

// Arguments of a kernel that copies weights in global memory, with a block of threads for each copy.
template <class T> struct PackStreamArgs {
  const WeightCopy<T>* copies;
  T* stream;
};

}  // namespace pixelrnn::cuda
