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
// for each column (weight_stream.cuh). A cluster leaves a buffer in global memory if no step writes the buffer, no
// product multiplies it, and steps read it only at the current column.
#pragma once
#include <cstdint>

#include "../../host_device.h"

namespace pixelrnn::cuda {

constexpr int kRecordTaps = 2;
constexpr int kStreamStages = 8;

// A BlockRecord tells a warp what to compute. It names each operand and result by its place, which is an index into the
// columns of all buffers that the block keeps in shared memory. Zeros lie at the place of an absent operand. A result
// with the place -1 is not stored, because no step reads it. An operand with the place -2 - i is
// BlockProgram::operands[i], which lies in global memory.
enum class BlockKind : int { idle, linear, cell, pointwise, draw, move, weigh };
struct alignas(16) BlockRecord {
  unsigned flags;
  // `threads` threads run the step together, and this warp's first thread among them has the number first_thread.
  int first_thread, threads;
  // `count` is the number of outputs, hidden units or logits of the step. A quad is four outputs, or the four gates of
  // a hidden unit. The quads of a step may be spread over several records, and this record ends before quad number
  // `quads`.
  int count, quads;
  // `weights` is the index of the step's first weight, and `channels` is the number of channels of all its taps
  // together. In the last warp, which copies columns, `weights` is the index of its first copy (BlockMove) instead.
  int weights, channels;
  // A linear or cell step multiplies several inputs, called taps. For each of the first two taps, `x` has the place of
  // the first channel, and `width` has the number of channels.
  int x[kRecordTaps], width[kRecordTaps];
  int more_taps;  // index of the third tap in BlockProgram::taps
  // `base` is the index in shared memory of the first summand of the step's result, and `output` is the index of the
  // result. The comment before BlockKind explains negative indices.
  int base, output;
  // `place` holds the places of the step's other operands and results, or plain numbers. For each kind of step, an
  // enumeration after this struct says what each index of `place` means.
  int place[5];
  // In a cluster, each block computes a part of the step's outputs. The part is divided into quads (four outputs, or
  // the four gates of a hidden unit). With this record, the block computes the quads first_quad to `quads` - 1 of its
  // part.
  int first_quad;

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
// Indices of BlockRecord::place in a cell step. place[kGateStride] is the distance between two gates of `base`, the
// first summand. In a linear step, place[2 * i] is the place of the operand that the fused pointwise step i adds, and
// place[2 * i + 1] is the place of its result. In a pointwise step, place[0] is the place of the second summand.
enum { kGateStride, kCarried, kAddend, kC, kH };
// Indices of BlockRecord::place in the records of a step that draws one colour channel of a pixel. place[kColour] is
// the index of the channel, and place[kLastLevel] is the largest value that the channel can have. place[kHeld] is the
// index in shared memory of the weights of the levels. If place[kIsWeighed] is set, several warps have weighed the
// levels in the round before (BlockKind::weigh), else the warp that draws does so first.
enum { kColour, kLastLevel, kHeld, kIsWeighed };
// Indices of BlockRecord::place in the record of the last warp, in a cluster. The array then holds two numbers. If this
// record begins a group of independent steps, kExpected is the number of bytes of results that the block will receive
// from all blocks in this group. Otherwise kExpected is 0. kFreed is the number of stages (equal pieces of the ring
// buffer of weights) that the steps of the previous record were the last to read, so new weights may be loaded there.
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
  // `count` is the number of channels to copy, and `place` is the index in shared memory of the first one.
  int count, place;
  T* row;  // the copied channels begin at row[(column * images + image) * channels]
  int channels;
};
// A BlockLoad names a buffer in global memory. Before a block begins an image row, it loads the buffer's columns to the
// left of the image. If `is_ahead` is set, the block also loads the image's first column, because the copies during the
// row always load the next column.
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
  const T *bias, *map, *packed;  // packed is [channels of all taps][quads][4]
  int64_t map_image, map_channel, map_row, map_column;
};

template <class T> struct BlockArgs {
  BlockProgram<T> main, mirrored;
  // The lists of all programs. Each block copies the first `bytes` bytes to shared memory.
  const unsigned char* memory;
  int64_t bytes, row_steps, row_taps, weights;
  // `before_row` row steps run before the program `main`, and `after_row` row steps run between the programs `main` and
  // `mirrored`.
  int before_row, after_row;
  int weight_copies, weight_values, ring_values;
  int blocks;  // in a cluster, or 1
  // In a cluster, the ring of weights begins at byte stream_offset of shared memory, and mbarriers follow it. The ring
  // consists of stages, each of which has 1 << log_stage weights. `stream` is an array of stages, [blocks][stages of
  // `main`, then stages of `mirrored`].
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
