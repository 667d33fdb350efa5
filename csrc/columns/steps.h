// The steps that sample or code the pixels of an image row (pixelrnn_ext/incremental/steps.py defines them). A buffer
// is an array [margin + width][images][channels]. A column of a buffer is one pixel position in all images. A step
// computes the channels `start` to `stop` - 1 of one column.
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

// 64 bits, to hold any integer of a program.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

// Packed weights are [blocks][channels of all taps][outputs of a block] for linear steps, and [blocks][channels of all
// taps][4 gates][units of a block] for cell steps. Zeros pad the last block.
struct ColumnBlocks { int outputs, units; };

template <class T> struct ColumnStep {
  StepKind kind;
  // Draw, encode and decode steps read this range of the logits.
  int64_t start, stop;
  std::vector<ColumnTap<T>> taps;
  const T* packed;
  // In draw, encode and decode steps the logits, otherwise the first summand. A cell step's base is [4][hidden].
  RowBuffer<T> base;
  RowBuffer<T> addend;  // added to h in a cell step, to `base` in a pointwise step
  RowBuffer<T> output;  // draw, encode and decode steps write the scaled image
  bool relu;
  // A cell step reads the previous c from `carried`, `shift` columns away, and writes new c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw and decode steps change only the unknown values. An encode step writes the range coder's interval of each
  // value to `intervals`, as start << 32 | stop.
  RowBuffer<double> uniform;
  RowBuffer<uint8_t> known;
  RowBuffer<int64_t> values, intervals;
  const T* scaled;  // the network's input for each value, [levels]
  int64_t colour;
};

// A single logit belongs to two values, 0 and 1.
template <class T> int64_t last_level(const ColumnStep<T>& s) {
  return s.stop - s.start == 1 ? 1 : s.stop - s.start - 1;
}

}  // namespace pixelrnn
