#include "step.h"

#include <algorithm>

#include "entry.h"
#include "launch.h"

#define STEP(name)                             \
  PIXELRNN_DECLARE_ENTRY(step_forward_##name); \
  PIXELRNN_DECLARE_ENTRY(step_backward_##name)
STEP(float32);
STEP(float64);
STEP(float16);
STEP(bfloat16);
#undef STEP

namespace pixelrnn::cuda {
namespace {

template <class Args> cudaError_t launch_line(const void* entry, const Args& a, cudaStream_t stream) {
  constexpr int threads = 256, most_blocks = 1 << 16;
  const int64_t units = int64_t(a.shape.active) * a.shape.images * a.shape.hidden;
  const int64_t blocks = std::min<int64_t>((units + threads - 1) / threads, most_blocks);
  return launch(entry, {unsigned(blocks), unsigned(a.shape.directions), threads}, a, stream);
}

}  // namespace

cudaError_t step_forward(StepType type, const StepForwardArgs& a, cudaStream_t stream) {
  const void* const entries[] = {
      step_forward_float32_entry, step_forward_float64_entry, step_forward_float16_entry, step_forward_bfloat16_entry};
  return launch_line(entries[int(type)], a, stream);
}
cudaError_t step_backward(StepType type, const StepBackwardArgs& a, cudaStream_t stream) {
  const void* const entries[] = {step_backward_float32_entry, step_backward_float64_entry, step_backward_float16_entry,
      step_backward_bfloat16_entry};
  return launch_line(entries[int(type)], a, stream);
}

}  // namespace pixelrnn::cuda
