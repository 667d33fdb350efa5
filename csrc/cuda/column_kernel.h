// The arguments of the kernel that runs a stage (column_stages.h): independent steps at one column, for all images.
// T, the type of buffers and weights, is float or double. A step is a record with all addresses of this column, so that
// the kernel looks nothing up. The records are the kernel's argument: a CUDA graph keeps them, and no memory is copied.
#pragma once
#include <cstdint>

namespace pixelrnn::cuda {

constexpr int kMaxTaps = 8, kMaxFused = 2, kMaxStageSteps = 8, kStageThreads = 256;
// Weights are packed for four outputs of a linear step, or for the four gates of one unit of a cell step.
constexpr int kQuad = 4;

// The values of all images at a column. Image i's values start at data[i * stride]. data is null if there are none.
template <class T> struct StageColumn {
  T* data;
  int stride;
};
template <class T> struct StageTap {
  const T* data;
  int stride, channels;
};
// A pointwise step: output = previous output + other, then ReLU if `relu`.
template <class T> struct StagePointwise {
  StageColumn<const T> other;
  StageColumn<T> output;
  int relu;
};
enum class StageKind : int { linear, cell, pointwise, draw };
template <class T> struct StageStep {
  StageKind kind;
  int first_block;     // the launch's blocks from here on run this step, until the next step's first block
  int count;           // outputs, units or logits
  int log_lanes;       // 2^log_lanes lanes of a warp share the sums of one quad
  int taps, channels;  // channels of all taps
  int relu, fused;
  int gate_stride;  // cell: from one gate of `base` to the next
  int last_level;   // draw: the largest value
  const T* packed;  // linear, cell: [quads][channels][kQuad]
  StageColumn<const T> base, addend, carried;
  StageColumn<T> c, h, output;
  StageTap<T> tap[kMaxTaps];
  StagePointwise<T> pointwise[kMaxFused];
  // draw: the colour's values of image i are at index i * colours.
  int colours;
  const double* uniform;
  const uint8_t* known;
  int64_t* values;
  const T* scaled;
};
template <class T> struct ColumnStageArgs {
  int steps, images;
  double temperature;
  StageStep<T> step[kMaxStageSteps];
};
static_assert(sizeof(ColumnStageArgs<double>) <= 4096, "the argument of a kernel has at most 4096 bytes");

}  // namespace pixelrnn::cuda
