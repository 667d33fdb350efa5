// The arguments of the kernel that runs a stage (column_stages.h): steps that do not depend on each other, at one
// column of all images. A StageStep has the addresses of a step at this column. The steps are part of the kernel's
// argument, so a CUDA graph keeps them.
#pragma once
#include <cstdint>

namespace pixelrnn::cuda {

constexpr int kMaxTaps = 8, kMaxFused = 2, kMaxStageSteps = 8, kStageThreads = 256;
// A quad is four outputs of a linear step, or the four gates of a unit. Its weights are neighbours in memory.
constexpr int kQuad = 4;
// A draw (class Draw in column_math.cuh) keeps the weights of its levels in shared memory if there are at most
// kHeldLevels. One warp draws from up to 32 levels alone, and other warps help to weigh more levels.
constexpr int kHeldLevels = 1024;
constexpr int held_weights(int levels) { return levels > kHeldLevels ? 0 : (levels + 31) / 32 * 32; }
constexpr bool is_weighed_together(int levels) { return 32 < levels && levels <= kHeldLevels; }
constexpr int stage_draw_threads(int levels) { return is_weighed_together(levels) ? kStageThreads : 32; }

// One column of a buffer, or null. The values of image i start at data[i * stride].
template <class T> struct StageColumn {
  T* data;
  int stride;
};
template <class T> struct StageTap {
  const T* data;
  int stride, channels;
};
// A pointwise step that is fused with the step before it.
template <class T> struct StagePointwise {
  StageColumn<const T> other;
  StageColumn<T> output;
  int relu;
};
enum class StageKind : int { linear, cell, pointwise, draw };
template <class T> struct StageStep {
  StageKind kind;
  int count;      // outputs, units or logits
  int log_lanes;  // 2^log_lanes lanes compute a quad
  // The number of the step's taps (inputs that it multiplies), and the number of channels of all taps together.
  int taps, channels;
  int relu, fused;
  int gate_stride;  // between two gates of `base`, in values
  int last_level;
  const T* packed;  // [quads][channels][kQuad]
  StageColumn<const T> base, addend, carried;
  StageColumn<T> c, h, output;
  StageTap<T> tap[kMaxTaps];
  StagePointwise<T> pointwise[kMaxFused];
  // In the arrays `uniform`, `known` and `values`, the element of image i has the index i * colours.
  int colours;
  const double* uniform;
  const uint8_t* known;
  int64_t* values;
  const T* scaled;
};
template <class T> struct ColumnStageArgs {
  int steps, images;
  double temperature;
  int first_block[kMaxStageSteps];  // of each step
  StageStep<T> step[kMaxStageSteps];
};
static_assert(sizeof(ColumnStageArgs<double>) <= 4096, "the argument of a kernel has at most 4096 bytes");

}  // namespace pixelrnn::cuda
