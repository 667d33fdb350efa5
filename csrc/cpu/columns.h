// Samples or codes an image row with a network of masked layers: at each column (pixel of the row) it runs all steps of
// pixelrnn_ext/incremental/steps.py. A buffer is [margin + width][images][channels]. A step computes channels start to
// stop - 1 of the current column of all images. Images are independent: a thread runs its images through the whole row.
// The same data and instruction set give the same bits: threads use the default floating-point environment.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "range_coder.h"
#include "team.h"

namespace pixelrnn::cpu {

template <class T> struct RowBuffer {
  T* data;
  int64_t channels;
};

template <class T> struct ColumnTap {
  RowBuffer<T> input;
  int64_t shift;     // the tap reads the current column plus shift, which is 0 or less
  int64_t channels;  // the tap reads channels 0 to channels - 1
};

// The kinds of steps, in 64 bits so that every integer of a program fits, and their names in the same order.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

template <class T> struct ColumnStep {
  StepKind kind;
  int64_t start, stop;  // range of channels; of units in a cell step; of logits in draw, encode and decode
  // For linear and cell steps:
  std::vector<ColumnTap<T>> taps;
  const T* packed;  // weights, packed as in kernels.h
  // Linear steps add this buffer to the products, cell steps ([4][hidden]) to the gates. It is the left operand of
  // pointwise steps, and the logits of other steps.
  RowBuffer<T> base;
  RowBuffer<T> addend;  // cell step: added to h; pointwise step: right operand, or null
  RowBuffer<T> output;  // draw, encode and decode: the image, to which scaled values are written
  bool relu;
  // A cell step reads the previous c from `carried`, at the current column plus `shift`, and writes c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw and decode steps set only values that are not known. Encode steps write each value's interval of [0, 2^24) to
  // `intervals`, as start << 32 | stop.
  RowBuffer<double> uniform;
  RowBuffer<uint8_t> known;
  RowBuffer<int64_t> values, intervals;
  const T* scaled;  // [levels] the number in the image for each value
  int64_t colour;
};

struct ColumnRun {
  int64_t margin, width, images;
  double temperature;  // of draw steps; 0 takes the most likely value
  bool on_grid;        // rounds all results to the grid (grid.h); double only
  // The streams that decode steps read, or null. A stream has consecutive images, which one thread decodes.
  Stream* streams;
  int64_t stream_count;
  const uint8_t* bytes;
};

template <class T> ColumnBlocks column_blocks(int instruction_set);

template <class T>
void run_columns(const std::vector<ColumnStep<T>>&, const ColumnRun&, const Team&, int instruction_set);

// Rounds n numbers in place to the nearest multiples of 2^-bits, ties to even, and clamps them to [-limit, limit].
void round_to_grid(double* x, int64_t n, int bits, double limit, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
