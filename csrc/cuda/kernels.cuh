// Defines the kernels of one format: the variants, and the packing of their weights.
#pragma once
#include "backward.cuh"
#include "entry.h"
#include "forward.cuh"
#include "forward_images.cuh"
#include "pack.cuh"
#include "variants.h"

// Older GPUs than compute capability 8.0 lack the instructions; the planner keeps them off (plan.cpp).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define PIXELRNN_BODY_single(...)
#else
#define PIXELRNN_BODY_single(...) __VA_ARGS__
#endif

// Nor are there clusters before 9.0.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#define PIXELRNN_BODY_cluster(...)
#else
#define PIXELRNN_BODY_cluster(...) __VA_ARGS__
#endif
#define PIXELRNN_BODY_images PIXELRNN_BODY_cluster

namespace pixelrnn::cuda {
template <Format F, int PAIRS, int SHARED, int TILES, Kind KIND> __device__ __forceinline__ void forward_of(
    const ForwardArgs& a) {
  if constexpr (KIND == Kind::images) scan_forward_images<F, PAIRS>(a);
  else scan_forward<F, 4, PAIRS, SHARED, TILES, KIND == Kind::cluster>(a);
}
}  // namespace pixelrnn::cuda

#define PIXELRNN_KERNEL(name, bounds, Args, BODY, ...)                                     \
  extern "C" __global__ void bounds name(const __grid_constant__ pixelrnn::cuda::Args a) { \
    using namespace pixelrnn::cuda;                                                        \
    BODY(__VA_ARGS__(a);)                                                                  \
  }                                                                                        \
  PIXELRNN_DEFINE_ENTRY(name, pixelrnn::cuda::Args);
#define PACK(F) PIXELRNN_KERNEL(pack_##F, , PackArgs, PIXELRNN_BODY_single, pack<Format::F, 4>)
#define PACK5(F) PIXELRNN_KERNEL(pack5_##F, , PackArgs, PIXELRNN_BODY_single, pack<Format::F, 5>)
#define FORWARD(name, F, HELD, TILES, THREADS, KIND)                                      \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), ForwardArgs, PIXELRNN_BODY_##KIND, \
      forward_of<Format::F, kHeld_##HELD.registers, kHeld_##HELD.shared, TILES, Kind::KIND>)
#define BACKWARD(name, F, HELD, UNITS, THREADS, KIND)                                      \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), BackwardArgs, PIXELRNN_BODY_##KIND, \
      scan_backward<Format::F, 4, kHeld_##HELD.registers, kHeld_##HELD.shared, UNITS, Kind::KIND == Kind::cluster>)
#define FORWARD5(name, F, HELD, TILES, THREADS, KIND)                                      \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), ForwardArgs5, PIXELRNN_BODY_##KIND, \
      scan_forward<Format::F, 5, kHeld_##HELD.registers, kHeld_##HELD.shared, TILES, Kind::KIND == Kind::cluster>)
#define BACKWARD5(name, F, HELD, UNITS, THREADS, KIND)                                      \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), BackwardArgs5, PIXELRNN_BODY_##KIND, \
      scan_backward<Format::F, 5, kHeld_##HELD.registers, kHeld_##HELD.shared, UNITS, Kind::KIND == Kind::cluster>)
