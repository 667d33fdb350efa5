// The steps that draw, encode or decode the pixels of an image row (pixelrnn_ext/incremental/steps.py defines the
// steps). A buffer is an array [margin + width][images][channels], whose first `margin` columns lie to the left of the
// image. A column of a buffer is one pixel position in all images. A step computes the channels `start` to `stop` - 1
// of one column.
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
  int64_t shift;     // columns from the current column to the column that the tap reads, 0 or less
  int64_t channels;  // the tap reads the first `channels` channels of `input`
};

// StepKind has 64 bits, so that every integer of a program can be converted to a StepKind.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

// The packed weights of a step are divided into blocks of `outputs` outputs (linear steps) or of `units` hidden units
// (cell steps). The weights have the shape [blocks][channels of all taps][outputs] in a linear step, and
// [blocks][channels of all taps][4 gates][units] in a cell step. Zeros pad the last block.
struct ColumnBlocks { int outputs, units; };

template <class T> struct ColumnStep {
  StepKind kind;
  // A linear, cell or pointwise step computes the channels `start` to `stop` - 1. A draw, encode or decode step reads
  // the logits `start` to `stop` - 1 from `base`.
  int64_t start, stop;
  std::vector<ColumnTap<T>> taps;
  const T* packed;
  // `base` holds the logits of a draw, encode or decode step, and the first summand of any other step. In a cell step,
  // the channels of `base` are [4 gates][hidden units].
  RowBuffer<T> base;
  RowBuffer<T> addend;  // added to h in a cell step, to `base` in a pointwise step
  // `output` receives the result of the step. Draw, encode and decode steps write the pixel value on the scale of the
  // network's input.
  RowBuffer<T> output;
  bool relu;
  // A cell step reads the previous c from `carried`, `shift` columns away, and writes new c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw and decode steps set only the pixel values that `known` does not mark. An encode step writes the range coder's
  // interval of each value to `intervals`, as start << 32 | stop.
  RowBuffer<double> uniform;
  RowBuffer<uint8_t> known;
  RowBuffer<int64_t> values, intervals;
  const T* scaled;  // the network's input for each level (possible pixel value), [levels]
  int64_t colour;
};

// Returns the largest value that one colour channel of a pixel can have, which is the number of its logits minus 1. If
// there is a single logit, the possible values are 0 and 1, so the function returns 1.
template <class T> int64_t last_level(const ColumnStep<T>& s) {
  return s.stop - s.start == 1 ? 1 : s.stop - s.start - 1;
}

}  // namespace pixelrnn
