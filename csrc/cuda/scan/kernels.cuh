#pragma once
#include "backward.cuh"
#include "forward.cuh"
#include "forward_images.cuh"
#include "kernel_list.h"
#include "pack.cuh"
#include "variants.h"

// The kernels use instructions of compute capability 8.0.
#if __CUDA_ARCH__ < 800
#define PIXELRNN_BODY_single(...)
#else
#define PIXELRNN_BODY_single(...) __VA_ARGS__
#endif

// Clusters need compute capability 9.0.
#if __CUDA_ARCH__ < 900
#define PIXELRNN_BODY_cluster(...)
#else
#define PIXELRNN_BODY_cluster(...) __VA_ARGS__
#endif
#define PIXELRNN_BODY_images PIXELRNN_BODY_cluster

namespace pixelrnn::cuda {
template <Format F, int G, int PAIRS, int SHARED, int TILES, Kind KIND> PIXELRNN_DEVICE void scan(
    const typename ArgsOf<G>::Forward& a) {
  if constexpr (KIND == Kind::images) scan_forward_images<F, PAIRS>(a);
  else scan_forward<F, G, PAIRS, SHARED, TILES, KIND == Kind::cluster>(a);
}
template <Format F, int G, int PAIRS, int SHARED, int UNITS, Kind KIND> PIXELRNN_DEVICE void scan(
    const typename ArgsOf<G>::Backward& a) {
  scan_backward<F, G, PAIRS, SHARED, UNITS, KIND == Kind::cluster>(a);
}
}  // namespace pixelrnn::cuda

#define PIXELRNN_KERNEL(name, bounds, Args, BODY, ...)                                     \
  extern "C" __global__ void bounds name(const __grid_constant__ pixelrnn::cuda::Args a) { \
    using namespace pixelrnn::cuda;                                                        \
    BODY(__VA_ARGS__(a);)                                                                  \
  }
#define PACK(name, F, G) PIXELRNN_KERNEL(name, , PackArgs, PIXELRNN_BODY_single, pack<Format::F, G>)
#define PIXELRNN_SCAN(G, ARGS, name, F, REGISTERS, SHARED, SIZE, THREADS, KIND)               \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), ArgsOf<G>::ARGS, PIXELRNN_BODY_##KIND, \
      scan<Format::F, G, REGISTERS, SHARED, SIZE, Kind::KIND>)
#define PIXELRNN_forward(...) PIXELRNN_SCAN(4, Forward, __VA_ARGS__)
#define PIXELRNN_forward5(...) PIXELRNN_SCAN(5, Forward, __VA_ARGS__)
#define PIXELRNN_backward(...) PIXELRNN_SCAN(4, Backward, __VA_ARGS__)
#define PIXELRNN_backward5(...) PIXELRNN_SCAN(5, Backward, __VA_ARGS__)

#define KERNEL(F, PASS, STORAGE, REGISTERS, SHARED, SIZE, THREADS, KIND) \
  PIXELRNN_##PASS(PASS##_##F##_##STORAGE##_##SIZE##_##THREADS##_##KIND, F, REGISTERS, SHARED, SIZE, THREADS, KIND)

// A .cu file defines the macro of its own number format. The other formats' macros are empty.
#ifndef HALF
#define HALF(...)
#endif
#ifndef TF32
#define TF32(...)
#endif
#ifndef FP32
#define FP32(...)
#endif
