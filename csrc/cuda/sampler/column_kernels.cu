#include "column_kernel.cuh"

#define KERNEL(name, T, images)                                                                      \
  extern "C" __global__ void __launch_bounds__(pixelrnn::cuda::kStageThreads, 1)                     \
      column_stage_##name##_##images(const __grid_constant__ pixelrnn::cuda::ColumnStageArgs<T> a) { \
    pixelrnn::cuda::ColumnStageKernel<T, images>(a).run();                                           \
  }

KERNEL(float32, float, 1)
KERNEL(float32, float, 4)
KERNEL(float64, double, 1)
KERNEL(float64, double, 4)
