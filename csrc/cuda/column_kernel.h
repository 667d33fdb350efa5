// The arguments of the kernel that runs a stage (column_stages.h): steps that do not depend on each other, at one
// column of all images. T, the type of buffers and weights, is float or double. A record describes a step with all its
// addresses at this column, so that the kernel looks nothing up. The records themselves are the kernel's argument. So a
// CUDA graph keeps them, and nobody has to copy them to the GPU.
#pragma once
#include <cstdint>

namespace pixelrnn::cuda {

constexpr int kMaxTaps = 8, kMaxFused = 2, kMaxStageSteps = 8, kStageThreads = 256;
// The size of a quad: four outputs of a linear step, or the four gates of one unit. The weights of a quad lie side by
// side.
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
  int first_block;     // blocks of threads from this one to the next step's first run the step
  int count;           // the number of outputs, units or logits
  int log_lanes;       // 2^log_lanes lanes of a warp share the sums of one quad
  int taps, channels;  // channels: the sum over the taps
  int relu, fused;
  int gate_stride;  // cell: distance between two gates of `base`, in values
  int last_level;   // draw: the largest value
  const T* packed;  // linear, cell: [quads][channels][kQuad]
  StageColumn<const T> base, addend, carried;
  StageColumn<T> c, h, output;
  StageTap<T> tap[kMaxTaps];
  StagePointwise<T> pointwise[kMaxFused];
  // draw: the value of image i is at index i * colours of `uniform`, `known` and `values`.
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
