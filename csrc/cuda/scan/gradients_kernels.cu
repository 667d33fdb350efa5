#include "gradients.cuh"

#define GRADIENT_KERNEL(name, Args, body)                                                                  \
  extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ pixelrnn::cuda::Args a) { \
    using namespace pixelrnn::cuda;                                                                        \
    body(a);                                                                                               \
  }

GRADIENT_KERNEL(neighbours_2, NeighboursArgs, neighbours<uint16_t>)
GRADIENT_KERNEL(neighbours_4, NeighboursArgs, neighbours<uint32_t>)
GRADIENT_KERNEL(neighbours_8, NeighboursArgs, neighbours<uint2>)
GRADIENT_KERNEL(neighbours_16, NeighboursArgs, neighbours<uint4>)
GRADIENT_KERNEL(border_sums_float32, BorderSumsArgs, border_sums<float>)
GRADIENT_KERNEL(border_sums_float64, BorderSumsArgs, border_sums<double>)
GRADIENT_KERNEL(border_sums_float16, BorderSumsArgs, border_sums<__half>)
GRADIENT_KERNEL(border_sums_bfloat16, BorderSumsArgs, border_sums<__nv_bfloat16>)
