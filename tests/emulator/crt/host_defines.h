// Replaces a CUDA header that PyPI's nvidia-cuda-runtime-cu12 lacks. Most of CUDA's keywords mean nothing in host code.
#pragma once

#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __align__(bytes)
#define __forceinline__ inline __attribute__((always_inline))
#define __host__
#define __device__
#define __global__
#define __device_builtin__
#define __device_builtin_surface_type__
#define __device_builtin_texture_type__
#define __cudart_builtin__
#define CUDARTAPI
