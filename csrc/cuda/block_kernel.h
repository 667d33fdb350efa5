// The arguments of the kernel that draws whole images in one launch. A block of threads draws one image: for each image
// row it runs the row steps, and then the program of the row at each column. T is float or double.
//
// All weights of the column programs lie in shared memory, and the columns of buffers that steps read. A buffer there
// is a ring of 1, 2, 4 ... columns. The steps of a column are divided into rounds. In a round a warp runs at most one
// step, which it reads from a record. A record has all places in shared memory at its column. Since rings repeat, a few
// columns of records (the period) serve a whole row. The last warp runs no steps. It moves columns between shared
// memory and memory.
#pragma once
#include <cstdint>

#include "../host_device.h"

namespace pixelrnn::cuda {

constexpr int kRecordTaps = 2;

// Places are indices of values of T from the start of the rings, unless a comment says something else. Absent operands
// lie in a place of zeros. The place of a result that nothing reads is -1.
enum class BlockKind : int { idle, linear, cell, pointwise, draw, move };
struct alignas(16) BlockRecord {
  unsigned flags;                          // the functions below tell what its bits mean
  int first_thread, threads;               // the warp's first thread among the `threads` threads that run the step
  int count, quads;                        // outputs, units or logits; their quads
  int weights, channels;                   // the index of the first shared weight, the channels of all taps;
                                           // move: the index of the round's first move
  int x[kRecordTaps], width[kRecordTaps];  // the first taps: places and numbers of channels
  int more_taps;                           // the index in BlockProgram::taps of the third tap
  int base, output;                        // draw: the logits, and the colour in the image
  int place[5];                            // indexed by the constants below
  int unused;

  PIXELRNN_HOST_DEVICE BlockKind kind() const { return BlockKind(flags & 7); }
  PIXELRNN_HOST_DEVICE bool is_barrier() const { return flags >> 3 & 1; }  // whether all warps meet before the round
  PIXELRNN_HOST_DEVICE bool is_first() const { return flags >> 4 & 1; }    // whether the round is a column's first one
  // 2^log_lanes() lanes share the sums of a quad (column_kernel.h) of a linear or a cell step.
  PIXELRNN_HOST_DEVICE int log_lanes() const { return flags >> 5 & 7; }
  PIXELRNN_HOST_DEVICE int taps() const { return flags >> 8 & 15; }  // at least 1 for linear and cell steps
  // Whether ReLU follows the step itself (0), or its pointwise step i - 1 (i).
  PIXELRNN_HOST_DEVICE bool has_relu(int i) const { return flags >> (12 + i) & 1; }

  void set(BlockKind kind, int log_lanes, size_t taps) {
    flags |= unsigned(kind) | unsigned(log_lanes) << 5 | unsigned(taps) << 8;
  }
  void set_relu(int i) { flags |= 1u << (12 + i); }
  void set_round(bool is_barrier, bool is_first) { flags |= unsigned(is_barrier) << 3 | unsigned(is_first) << 4; }
};
static_assert(sizeof(BlockRecord) == 80, "records are read in pieces of 16 bytes");
// The constants are indices of BlockRecord::place. A cell step has kGateStride to kH, where kGateStride is the number
// of values from one gate of `base` to the next. A linear step has, for its fused pointwise step i, the right operand
// in place[2 * i] and the output in place[2 * i + 1]. If there is no pointwise step, its operand is zero. A pointwise
// step has its right operand in place[0]. A draw has its colour and its largest value, which are no places.
enum { kGateStride, kCarried, kAddend, kC, kH };
enum { kColour, kLastLevel };
struct BlockTap { int x, width; };

// A copy of up to 128 channels of a buffer, which the last warp makes in a round. `load` copies from memory to the
// ring, for the next column. `store` copies from the ring to memory, for the column before: row steps and the other
// program use the buffer in memory. `fetch` gets a FetchedValue for each colour of the next column.
enum class MoveKind : int { none, load, store, fetch };
template <class T> struct alignas(16) BlockMove {
  MoveKind kind;
  int count, place;  // the number of channels, and the place of the first one
  T* row;            // the first channel in memory: row[(column * images + image) * channels]
  int channels;
};
// A ring that is filled from memory at the start of a row, with the columns before the row. If `is_ahead`, it also gets
// the first column of the row.
template <class T> struct BlockLoad {
  const T* data;
  int channels, place, mask;  // the ring has mask + 1 columns
  int is_ahead;
};
// The uniform number of a value of the next column, the value, and whether it is known.
struct alignas(16) FetchedValue {
  double uniform;
  int value, is_known;
};
template <class T> struct BlockWeights {
  const T* from;
  int to, count;
};

// One column program. Lists are at offsets in bytes from the start of the programs' memory.
template <class T> struct BlockProgram {
  int rounds, period, warps, loads;
  int moves_per_round, moves_per_column;  // moves_per_column counts those of all rounds
  int64_t records, moves, taps, load;
};

template <class T> struct RowTapArgs {
  const T* source;
  int channels, unused;
};
// A row step (../columns/row_program.h). Rows are [columns][images][channels].
template <class T> struct RowStepArgs {
  int is_copy, is_mirrored;
  T* output;
  int columns, outputs, taps, channels, first_tap;
  const T *bias, *map, *packed;  // packed is [quads][channels of all taps][4]
  int64_t map_image, map_channel, map_row, map_column;
};

template <class T> struct BlockArgs {
  BlockProgram<T> main, mirrored;
  const unsigned char* memory;  // all lists. The first `bytes` bytes, those of the programs, go to shared memory
  int64_t bytes, row_steps, row_taps, weights;
  int before_row, after_row;  // numbers of row steps
  int weight_copies, weight_values, ring_values;
  int images, width, height, margin, colours, logits;  // logits of a colour
  int row0, row1;                                      // the rows to draw are row0 to row1 - 1
  double temperature;
  const double* uniform;  // [images][colours][height][width], like known and values
  const uint8_t* known;
  int64_t* values;
  T* logit_map;  // [height][width][images][colours * logits], or null
};

}  // namespace pixelrnn::cuda
