#include "block_kernel.cuh"

// Clusters need compute capability 9.0.
#if __CUDA_ARCH__ < 900
#define DRAW_BY_CLUSTER(T)
#else
#define DRAW_BY_CLUSTER(T) pixelrnn::cuda::ImageSampler<T, true>(a).run();
#endif

#define KERNELS(name, T)                                                                                       \
  extern "C" __global__ void __launch_bounds__(160, 1)                                                         \
      block_sampler_##name(const __grid_constant__ pixelrnn::cuda::BlockArgs<T> a) {                           \
    pixelrnn::cuda::ImageSampler<T, false>(a).run();                                                           \
  }                                                                                                            \
  extern "C" __global__ void __launch_bounds__(160, 1)                                                         \
      cluster_sampler_##name(const __grid_constant__ pixelrnn::cuda::BlockArgs<T> a) {                         \
    DRAW_BY_CLUSTER(T)                                                                                         \
  }                                                                                                            \
  extern "C" __global__ void pack_stream_##name(const __grid_constant__ pixelrnn::cuda::PackStreamArgs<T> a) { \
    const pixelrnn::cuda::WeightCopy<T> copy = a.copies[blockIdx.x];                                           \
    for (int i = threadIdx.x; i < copy.count; i += blockDim.x) a.stream[copy.to + i] = copy.from[i];           \
  }

KERNELS(float32, float)
KERNELS(float64, double)
