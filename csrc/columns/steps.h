// The steps that sample or code the pixels of an image row, as CPU and CUDA kernels read them
// (pixelrnn_ext/incremental/steps.py defines the steps). A buffer is an array [margin + width][images][channels]. A
// column of a buffer is one pixel position in all images. A step runs for one column after the other. It computes the
// channels `start` to `stop` - 1 of the current column.
#pragma once
#include <cstdint>
#include <vector>

namespace pixelrnn {

template <class T> struct RowBuffer {
  T* data;
  int64_t channels;
};

template <class T> struct ColumnTap {
  RowBuffer<T> input;
  int64_t shift;     // distance from the current column to the column that the tap reads, 0 or less
  int64_t channels;  // the tap reads the first `channels` channels of `input`
};

// The kinds of steps, and their names in the same order. The enum has 64 bits, so that every integer of a program fits.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

// Packed weights are [blocks][channels of all taps][outputs of a block] for linear steps, and [blocks][channels of all
// taps][4 gates][units of a block] for cell steps. Zeros pad the last block. A ColumnBlocks says how many outputs and
// how many hidden units a block has, which depends on the kernels.
struct ColumnBlocks { int outputs, units; };

template <class T> struct ColumnStep {
  StepKind kind;
  // The step's range of channels: of units in a cell step, of logits in a draw, encode or decode step.
  int64_t start, stop;
  std::vector<ColumnTap<T>> taps;  // empty except in linear and cell steps
  const T* packed;                 // the taps' weights, in linear and cell steps
  // A linear step adds `base` to the taps' products. A cell step adds it, [4][hidden], to the pre-activations of the
  // gates. `base` is also the left operand of a pointwise step, and the logits of a draw, encode or decode step.
  RowBuffer<T> base;
  RowBuffer<T> addend;  // cell: output = h + addend; pointwise: the right operand, or null
  RowBuffer<T> output;  // draw, encode, decode: the image that the network reads (scaled)
  bool relu;
  // Only in cell steps: the step reads the previous c from `carried`, `shift` columns away, and writes new c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw and decode steps change only the unknown values. An encode step writes the interval of each value to
  // `intervals`, as start << 32 | stop, where start and stop are from 0 to 2^24.
  RowBuffer<double> uniform;
  RowBuffer<uint8_t> known;
  RowBuffer<int64_t> values, intervals;
  const T* scaled;  // [levels]: what the network reads for each value
  int64_t colour;
};

// Returns the largest value that a draw, encode or decode step can have. A step with a single logit has two values.
template <class T> int64_t last_level(const ColumnStep<T>& s) {
  return s.stop - s.start == 1 ? 1 : s.stop - s.start - 1;
}

}  // namespace pixelrnn
