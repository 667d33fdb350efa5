#include "block_kernel.cuh"

#define KERNEL(name, T)                                                              \
  extern "C" __global__ void __launch_bounds__(160, 1)                               \
      block_sampler_##name(const __grid_constant__ pixelrnn::cuda::BlockArgs<T> a) { \
    pixelrnn::cuda::BlockSampler<T>(a).run();                                        \
  }

KERNEL(float32, float)
KERNEL(float64, double)
