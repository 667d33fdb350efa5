#include "entry.h"
#include "step.cuh"

#define STEP(name, T)                                                                    \
  extern "C" __global__ void __launch_bounds__(256)                                      \
      step_forward_##name(const __grid_constant__ pixelrnn::cuda::StepForwardArgs a) {   \
    pixelrnn::cuda::step_forward<T>(a);                                                  \
  }                                                                                      \
  PIXELRNN_DEFINE_ENTRY(step_forward_##name, pixelrnn::cuda::StepForwardArgs);           \
  extern "C" __global__ void __launch_bounds__(256)                                      \
      step_backward_##name(const __grid_constant__ pixelrnn::cuda::StepBackwardArgs a) { \
    pixelrnn::cuda::step_backward<T>(a);                                                 \
  }                                                                                      \
  PIXELRNN_DEFINE_ENTRY(step_backward_##name, pixelrnn::cuda::StepBackwardArgs);

STEP(float32, float)
STEP(float64, double)
STEP(float16, __half)
STEP(bfloat16, __nv_bfloat16)
