// The arguments of the kernels that draw rows of whole images in one launch. T is float or double.
//
// A team draws one image: one block of threads, or a cluster of blocks. For each image row, the team alternates between
// row steps, which compute all columns together, and column programs, which run their steps at one column after the
// other.
//
// Shared memory holds the columns of buffers that steps read. There, a buffer is a ring of 1, 2, 4 ... columns. The
// steps of a column are divided into rounds. In each round a warp runs at most one step. A record (BlockRecord) tells
// the warp which step this is, and where its operands lie in the rings. These places repeat after a few columns (the
// period), so few records serve a whole row. The last warp runs no steps. It copies columns between shared and global
// memory.
//
// If the team is one block, shared memory also holds all weights of the column programs. In a cluster, every block has
// all rings. It computes a share of the outputs of each linear and cell step, and stores the results in the rings of
// all blocks. All blocks run the other steps. A block loads the weights of its shares from global memory again for each
// column (weight_stream.cuh). Buffers that steps only read, and only at the current column, have no ring. A lane reads
// them in global memory before it computes its product, which hides the latency.
#pragma once
#include <cstdint>

#include "../host_device.h"

namespace pixelrnn::cuda {

constexpr int kRecordTaps = 2;
constexpr int kStreamStages = 8;

// A place is an index into the rings, in values of T, unless a comment says something else. An absent operand has a
// place that holds zeros. A result that no step reads has the place -1. The place -2 - i stands for
// BlockProgram::operands[i], which is in global memory.
enum class BlockKind : int { idle, linear, cell, pointwise, draw, move };
struct alignas(16) BlockRecord {
  unsigned flags;
  int first_thread, threads;               // of the step: this warp's first thread, and the number of threads
  int count, quads;                        // number of outputs, units or logits; for `quads` see first_quad
  int weights, channels;                   // index of the first weight; channels of all taps
                                           // The last warp's `weights` is the index of its first move.
  int x[kRecordTaps], width[kRecordTaps];  // places and numbers of channels of the first taps
  int more_taps;                           // index of the third tap in the list BlockProgram::taps
  int base, output;                        // places; a draw has its logits at `base`
  int place[5];                            // of other operands, indexed by the constants below
  int first_quad;                          // the round computes the quads first_quad to quads - 1 of its block's share

  PIXELRNN_HOST_DEVICE BlockKind kind() const { return BlockKind(flags & 7); }
  PIXELRNN_HOST_DEVICE bool is_barrier() const { return flags >> 3 & 1; }
  PIXELRNN_HOST_DEVICE bool is_first() const { return flags >> 4 & 1; }  // whether the round is its column's first
  // 2^log_lanes() lanes compute together four outputs of a linear step, or the four gates of a unit.
  PIXELRNN_HOST_DEVICE int log_lanes() const { return flags >> 5 & 7; }
  PIXELRNN_HOST_DEVICE int taps() const { return flags >> 8 & 15; }  // at least 1 in linear and cell steps
  // Returns whether a ReLU follows the step itself (i = 0), or the step's fused pointwise step i - 1 (i > 0).
  PIXELRNN_HOST_DEVICE bool has_relu(int i) const { return flags >> (12 + i) & 1; }
  // A stage (column_stages.h) may have several rounds.
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
// Indices of BlockRecord::place in a cell step. kGateStride stands for the distance between two gates of `base`. A
// linear step has the right operand of its fused pointwise step i in place[2 * i]; the next place is this pointwise
// step's output. Without such a step, place[2 * i] is a place of zeros. A pointwise step has its right operand in
// place[0].
enum { kGateStride, kCarried, kAddend, kC, kH };
// A draw's colour and largest value, which are no places.
enum { kColour, kLastLevel };
// In the last warp's record in a cluster: the bytes of results that a block receives in the stage that begins, and the
// number of stages of weights that earlier rounds have freed.
enum { kExpected, kFreed };
struct BlockTap { int x, width; };
template <class T> struct alignas(16) BlockOperand {
  const T* data;        // the buffer, [columns][images][channels]
  int channels, first;  // the operand begins at channel `first`
};

// A copy that the last warp makes in a round. `load` brings up to 128 channels of the next column to the ring. `store`
// writes the previous column to global memory, for row steps or the other column program. `fetch` gets a FetchedValue
// for each colour of the next column.
enum class MoveKind : int { none, load, store, fetch };
template <class T> struct alignas(16) BlockMove {
  MoveKind kind;
  int count, place;  // number of channels, place of the first
  T* row;            // the copied channels begin at row[(column * images + image) * channels]
  int channels;
};
// A buffer whose columns to the left of the row a block loads when it begins the row. If `is_ahead`, the block also
// loads the row's first column.
template <class T> struct BlockLoad {
  const T* data;
  int channels, place, mask;  // the ring has mask + 1 columns
  int is_ahead;
};
// The inputs of a draw at the next column.
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
  int moves_per_round, moves_per_column;  // copies by the last warp
  int64_t records, moves, taps, load, operands;
  // In a cluster, `stages` stages of `stream`, from first_stage on, have a block's weights for a column.
  int stages, first_stage;
};

template <class T> struct RowTapArgs {
  const T* source;
  int channels, unused;
};
// A row step (../columns/row_program.h). Its buffers are [columns][images][channels].
template <class T> struct RowStepArgs {
  int is_copy, is_mirrored;
  T* output;
  int columns, outputs, taps, channels, first_tap;
  const T *bias, *map, *packed;  // packed is [quads][channels of all taps][4]
  int64_t map_image, map_channel, map_row, map_column;
};

template <class T> struct BlockArgs {
  BlockProgram<T> main, mirrored;
  // The lists of all programs. Each block copies the first `bytes` bytes to shared memory: the lists of the column
  // programs, in a cluster without the records.
  const unsigned char* memory;
  int64_t bytes, row_steps, row_taps, weights;
  int before_row, after_row;  // numbers of row steps
  int weight_copies, weight_values, ring_values;
  int blocks;  // in a team
  // In a cluster, the ring of weights begins stream_offset bytes behind the start of shared memory, and mbarriers
  // follow it. A stage has 1 << log_stage weights. `stream`, in global memory, has the stages of both programs for each
  // block.
  int stream_offset, log_stage;
  const T* stream;
  int images, width, height, margin, colours, logits;  // logits of one colour
  int row0, row1;                                      // the launch draws rows row0 to row1 - 1
  double temperature;
  const double* uniform;  // uniform, known and values: [images][colours][height][width]
  const uint8_t* known;
  int64_t* values;
  T* logit_map;  // null, or receives all logits: [height][width][images][colours * logits]
};

// Copies weights in global memory, with one block of threads for each copy.
template <class T> struct PackStreamArgs {
  const WeightCopy<T>* copies;
  T* stream;
};

}  // namespace pixelrnn::cuda
