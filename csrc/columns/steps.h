// The steps that sample or code the pixels of an image row: pixelrnn_ext/incremental/steps.py, for CPU and CUDA
// kernels. A buffer is [margin + width][images][channels]. A column of a buffer is one pixel of all images. A step
// computes the channels from `start` to `stop` - 1 of the current column.
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
  int64_t shift;     // the tap reads the current column plus shift, which is 0 or less
  int64_t channels;  // the tap reads channels 0 to channels - 1
};

// The kinds of steps, in 64 bits so that every integer of a program fits, and their names in the same order.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

// The packed weights of linear steps are [blocks][channels of all taps][outputs of a block]. The packed weights of cell
// steps are [blocks][channels of all taps][4 gates][units of a block]. Blocks are padded with zeros. A ColumnBlocks
// says how many outputs and how many units (hidden units) a block of some kernels has.
struct ColumnBlocks { int outputs, units; };

template <class T> struct ColumnStep {
  StepKind kind;
  int64_t start, stop;  // range of channels; of units in a cell step; of logits in draw, encode and decode steps
  std::vector<ColumnTap<T>> taps;  // only of linear and cell steps, as is `packed`
  const T* packed;                 // the taps' weights
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

// Returns the largest value of a draw, encode or decode step. A single logit serves two levels.
template <class T> int64_t last_level(const ColumnStep<T>& s) {
  return s.stop - s.start == 1 ? 1 : s.stop - s.start - 1;
}

}  // namespace pixelrnn
