// The arguments of the kernel that runs a stage (column_stages.h): steps that do not depend on each other, at one
// column of all images. T is float or double. A record (StageStep) has all addresses of a step at this column. The
// records are the kernel's argument, so a CUDA graph keeps them, and nobody has to copy them to the GPU.
#pragma once
#include <cstdint>

namespace pixelrnn::cuda {

constexpr int kMaxTaps = 8, kMaxFused = 2, kMaxStageSteps = 8, kStageThreads = 256;
// A quad is four outputs of a linear step, or the four gates of one unit. Its weights lie side by side.
constexpr int kQuad = 4;

// One column of a buffer: the values of image i start at data[i * stride]. If there is no buffer, data is null.
template <class T> struct StageColumn {
  T* data;
  int stride;
};
template <class T> struct StageTap {
  const T* data;
  int stride, channels;
};
// A pointwise step that is fused with the step before it: output = previous output + other, then a ReLU if `relu`.
template <class T> struct StagePointwise {
  StageColumn<const T> other;
  StageColumn<T> output;
  int relu;
};
enum class StageKind : int { linear, cell, pointwise, draw };
template <class T> struct StageStep {
  StageKind kind;
  int first_block;     // the first block of threads that runs this step
  int count;           // outputs, units or logits
  int log_lanes;       // 2^log_lanes lanes of a warp compute a quad
  int taps, channels;  // channels of all taps
  int relu, fused;
  int gate_stride;  // cell: distance between two gates of `base`, in values
  int last_level;   // draw: the largest value
  const T* packed;  // [quads][channels][kQuad]
  StageColumn<const T> base, addend, carried;
  StageColumn<T> c, h, output;
  StageTap<T> tap[kMaxTaps];
  StagePointwise<T> pointwise[kMaxFused];
  // In these three tensors, the value of image i is at index i * colours.
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
