#include "step.cuh"

#define KERNEL(pass, name, T, G, Args)                                             \
  extern "C" __global__ void __launch_bounds__(256)                                \
      step_##pass##_##name##_##G(const __grid_constant__ pixelrnn::cuda::Args a) { \
    pixelrnn::cuda::step_##pass<T, G>(a);                                          \
  }
#define STEP(name, T)                            \
  KERNEL(forward, name, T, 4, StepForwardArgs)   \
  KERNEL(backward, name, T, 4, StepBackwardArgs) \
  KERNEL(forward, name, T, 5, StepForwardArgs)   \
  KERNEL(backward, name, T, 5, StepBackwardArgs)

STEP(float32, float)
STEP(float64, double)
STEP(float16, __half)
STEP(bfloat16, __nv_bfloat16)
