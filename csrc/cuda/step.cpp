#include "step.h"

#include <algorithm>

#include "entry.h"
#include "launch.h"

#define STEP(name)                                  \
  PIXELRNN_DECLARE_ENTRY(step_forward_##name##_4);  \
  PIXELRNN_DECLARE_ENTRY(step_backward_##name##_4); \
  PIXELRNN_DECLARE_ENTRY(step_forward_##name##_5);  \
  PIXELRNN_DECLARE_ENTRY(step_backward_##name##_5)
STEP(float32);
STEP(float64);
STEP(float16);
STEP(bfloat16);
#undef STEP
#define TYPES(pass, gates)                                                       \
  {step_##pass##_float32_##gates##_entry, step_##pass##_float64_##gates##_entry, \
      step_##pass##_float16_##gates##_entry, step_##pass##_bfloat16_##gates##_entry}

namespace pixelrnn::cuda {
namespace {

template <class Args> CUresult launch_line(CUfunction kernel, const Args& a, CUstream stream) {
  constexpr int threads = 256, most_blocks = 1 << 16;
  const int64_t units = int64_t(a.shape.active) * a.shape.images * a.shape.hidden;
  const int64_t blocks = std::min<int64_t>((units + threads - 1) / threads, most_blocks);
  return launch(kernel, {unsigned(blocks), unsigned(a.shape.directions), threads}, a, stream);
}

}  // namespace

CUresult load_step_kernel(MapType type, int gates, bool backward, CUfunction& kernel) {
  const void* const entries[2][2][4] = {
      {TYPES(forward, 4), TYPES(forward, 5)}, {TYPES(backward, 4), TYPES(backward, 5)}};
  return load_kernel(entries[backward][gates - 4][int(type)], kernel);
}
CUresult step_forward(CUfunction kernel, const StepForwardArgs& a, CUstream stream) {
  return launch_line(kernel, a, stream);
}
CUresult step_backward(CUfunction kernel, const StepBackwardArgs& a, CUstream stream) {
  return launch_line(kernel, a, stream);
}

}  // namespace pixelrnn::cuda
