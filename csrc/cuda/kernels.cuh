// Defines the kernels of one format: the variants, and the packing of their weights.
#pragma once
#include "backward.cuh"
#include "entry.h"
#include "forward.cuh"
#include "variants.h"

namespace pixelrnn::cuda {

template <Format F> __device__ __forceinline__ void pack(const PackArgs& a) {
  using Value = typename Traits<F>::Value;
  const Tiling& s = a.tiling;
  const int64_t packed = int64_t(s.blocks) * s.weight_values(), source = int64_t(s.taps) * s.hidden * 4 * s.hidden;
  const Value* const from = static_cast<const Value*>(a.weight) + blockIdx.y * source;
  Value* const to = static_cast<Value*>(a.packed) + blockIdx.y * packed;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < packed; i += int64_t(gridDim.x) * blockDim.x) {
    const int64_t at = weight_source(s, i);
    to[i] = at < 0 ? Traits<F>::narrow(0.0f) : Traits<F>::weight(from[at]);
  }
}

}  // namespace pixelrnn::cuda

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

#define PIXELRNN_KERNEL(name, bounds, Args, BODY, ...)                                     \
  extern "C" __global__ void bounds name(const __grid_constant__ pixelrnn::cuda::Args a) { \
    using namespace pixelrnn::cuda;                                                        \
    BODY(__VA_ARGS__(a);)                                                                  \
  }                                                                                        \
  PIXELRNN_DEFINE_ENTRY(name, pixelrnn::cuda::Args);
#define PACK(F) PIXELRNN_KERNEL(pack_##F, , PackArgs, PIXELRNN_BODY_single, pack<Format::F>)
#define FORWARD(name, F, HELD, TILES, THREADS, KIND)                                         \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), ForwardArgs, PIXELRNN_BODY_##KIND,    \
                  scan_forward<Format::F, kHeld_##HELD.pairs, TILES, kKind_##KIND>)
#define BACKWARD(name, F, HELD, CELLS, THREADS, KIND)                                        \
  PIXELRNN_KERNEL(name, __launch_bounds__(THREADS, 1), BackwardArgs, PIXELRNN_BODY_##KIND,   \
                  scan_backward<Format::F, kHeld_##HELD.pairs, CELLS, kKind_##KIND>)
