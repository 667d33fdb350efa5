#pragma once

#if defined(__CUDACC__)
#define PIXELRNN_HOST_DEVICE __host__ __device__ __forceinline__
#define PIXELRNN_DEVICE __device__ __forceinline__
#else
#define PIXELRNN_HOST_DEVICE inline __attribute__((always_inline))
#endif
