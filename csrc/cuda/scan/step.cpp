#include "step.h"

#include <algorithm>

#include "../driver/launch.h"

namespace pixelrnn::cuda {
namespace {

template <class Args> CUresult launch_line(CUfunction kernel, const Args& a, CUstream stream) {
  constexpr int threads = 256, max_blocks = 1 << 16;
  const int64_t units = int64_t(a.shape.active) * a.shape.images * a.shape.hidden;
  const int64_t blocks = std::min<int64_t>((units + threads - 1) / threads, max_blocks);
  return launch(kernel, {unsigned(blocks), unsigned(a.shape.directions), threads}, a, stream);
}

}  // namespace

CUresult load_step_kernel(MapType type, int gates, bool backward, CUfunction& kernel) {
  const std::string pass = backward ? "step_backward_" : "step_forward_";
  return load_kernel(pass + type_name(type) + "_" + std::to_string(gates), kernel);
}
CUresult step_forward(CUfunction kernel, const StepForwardArgs& a, CUstream stream) {
  return launch_line(kernel, a, stream);
}
CUresult step_backward(CUfunction kernel, const StepBackwardArgs& a, CUstream stream) {
  return launch_line(kernel, a, stream);
}

}  // namespace pixelrnn::cuda
