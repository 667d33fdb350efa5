// The arguments of the kernels that draw rows of whole images in one launch. A team draws one image. A team is one
// block of threads, or a cluster of blocks. For each image row, the team alternates between row steps and column
// programs. A column program runs at each column of the row. T is float or double.
//
// Shared memory holds the columns of buffers that steps read. There, a buffer is a ring of 1, 2, 4 ... columns. The
// steps of a column are divided into rounds. In each round a warp runs at most one step. A record describes this work,
// with all places in shared memory at one column. Because rings repeat, the records of a few columns (the period) serve
// a whole row. The last warp runs no steps. It copies columns between shared and global memory.
//
// If the team is one block, shared memory also holds all weights of the column programs. In a cluster, every block has
// all rings, and computes a share of the outputs of each product (linear and cell steps), which it stores in the rings
// of all blocks. All blocks run the other steps. The weights of a block's shares come from global memory again for each
// column, through the stages of another ring (weight_stream.cuh). Buffers that steps only read, and only at the current
// column, have no ring. A lane reads them in global memory before it computes its product, which hides the latency.
#pragma once
#include <cstdint>

#include "../host_device.h"

namespace pixelrnn::cuda {

constexpr int kRecordTaps = 2;
constexpr int kStreamStages = 8;

// A place is an index, counted in values of T from the start of the rings, unless a comment says something else. An
// absent operand has a place that holds zeros. A result that no step reads has the place -1. Operand i of
// BlockProgram::operands, which is in global memory, has the place -2 - i.
enum class BlockKind : int { idle, linear, cell, pointwise, draw, move };
struct alignas(16) BlockRecord {
  unsigned flags;                          // bits, which the functions below read
  int first_thread, threads;               // this warp's first thread among the step's threads; their number
  int count, quads;                        // the number of outputs, units or logits; the end of the range of quads
  int weights, channels;                   // linear, cell: index of the first weight; channels of all taps
                                           // move: `weights` is the index of the round's first move
  int x[kRecordTaps], width[kRecordTaps];  // the first two taps: their places and numbers of channels
  int more_taps;                           // index of the third tap in the list BlockProgram::taps
  int base, output;                        // places; in a draw: the logits, and the colour in the image
  int place[5];                            // other operands; the constants below are its indices
  int first_quad;                          // begin of the range of quads, counted from the block's first quad

  PIXELRNN_HOST_DEVICE BlockKind kind() const { return BlockKind(flags & 7); }
  // Returns whether all warps wait for each other before the round.
  PIXELRNN_HOST_DEVICE bool is_barrier() const { return flags >> 3 & 1; }
  PIXELRNN_HOST_DEVICE bool is_first() const { return flags >> 4 & 1; }  // whether the round is its column's first
  // 2^log_lanes() lanes of a warp share the sums of a quad: four outputs of a linear step, or four gates of a unit.
  PIXELRNN_HOST_DEVICE int log_lanes() const { return flags >> 5 & 7; }
  PIXELRNN_HOST_DEVICE int taps() const { return flags >> 8 & 15; }  // at least 1 in linear and cell steps
  // Returns whether a ReLU follows the step itself (i = 0), or the step's fused pointwise step i - 1 (i > 0).
  PIXELRNN_HOST_DEVICE bool has_relu(int i) const { return flags >> (12 + i) & 1; }
  // Returns whether a stage (column_stages.h) ends with this round, and whether blocks exchange results in this stage.
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
// Indices of BlockRecord::place. A cell step uses kGateStride to kH. kGateStride is the distance in values between two
// gates of `base`. A linear step has the right operand of its fused pointwise step i in place[2 * i], and the output of
// this pointwise step in place[2 * i + 1]. Without such a step, place[2 * i] is a place of zeros. A pointwise step has
// its right operand in place[0]. A draw uses kColour and kLastLevel for two numbers that are no places: its colour and
// its largest value. The last warp's record in a cluster uses kExpected and kFreed, also for numbers: the bytes of the
// exchange that begins with the round, and the stages of the weights' ring that the rounds before have freed.
enum { kGateStride, kCarried, kAddend, kC, kH };
enum { kColour, kLastLevel };
enum { kExpected, kFreed };
struct BlockTap { int x, width; };
template <class T> struct alignas(16) BlockOperand {
  const T* data;        // the buffer, [columns][images][channels]
  int channels, first;  // the operand begins at channel `first`
};

// A copy of up to 128 channels of a buffer, which the last warp makes in a round. `load` copies the next column from
// global memory to the ring. `store` copies the previous column from the ring to global memory, where row steps or the
// other column program read it. `fetch` gets a FetchedValue for each colour of the next column.
enum class MoveKind : int { none, load, store, fetch };
template <class T> struct alignas(16) BlockMove {
  MoveKind kind;
  int count, place;  // the number of channels, and the first channel's place
  T* row;            // the copied channels begin at row[(column * images + image) * channels]
  int channels;
};
// A ring that a block fills at the start of a row, with the columns to the left of the row. If `is_ahead`, the block
// also loads the first column of the row.
template <class T> struct BlockLoad {
  const T* data;
  int channels, place, mask;  // the ring has mask + 1 columns
  int is_ahead;
};
// The inputs of a draw at the next column: the uniform number, the value, and whether this value is known.
struct alignas(16) FetchedValue {
  double uniform;
  int value, is_known;
};
template <class T> struct WeightCopy {
  const T* from;
  int64_t to;
  int count;
};

// One column program. records, moves, taps and load are lists: offsets in bytes from the start of the programs' memory.
template <class T> struct BlockProgram {
  int rounds, period, warps, loads, operand_count;
  int moves_per_round, moves_per_column;  // moves of the last warp in a round, and in all rounds of a column
  int64_t records, moves, taps, load, operands;
  // In a cluster: the number of stages that hold a block's weights for one column, and the first of them in `stream`.
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
  // All lists. Each block copies the first `bytes` bytes to shared memory. These are the lists of the column programs,
  // in a cluster without the records.
  const unsigned char* memory;
  int64_t bytes, row_steps, row_taps, weights;
  int before_row, after_row;  // how many row steps run before and after a row's columns
  int weight_copies, weight_values, ring_values;
  int blocks;  // of a team
  // In a cluster, the weights' ring begins stream_offset bytes behind the start of shared memory. The mbarriers of the
  // ring and of the exchange follow it. A stage has 1 << log_stage weights. `stream` has the stages of both programs
  // for each block, in global memory.
  int stream_offset, log_stage;
  const T* stream;
  int images, width, height, margin, colours, logits;  // logits: their number for one colour
  int row0, row1;                                      // the launch draws rows row0 to row1 - 1
  double temperature;
  const double* uniform;  // uniform, known and values: [images][colours][height][width]
  const uint8_t* known;
  int64_t* values;
  T* logit_map;  // all logits for the caller, [height][width][images][colours * logits], or null
};

// Copies weights in global memory, with one block of threads for each copy.
template <class T> struct PackStreamArgs {
  const WeightCopy<T>* copies;
  T* stream;
};

}  // namespace pixelrnn::cuda
