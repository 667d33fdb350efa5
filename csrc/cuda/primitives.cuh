// Every instruction that CUDA C++ has no spelling for: inline PTX stands in this file only.
//
// A compiler other than nvcc takes the same declarations from host_primitives.h, which tests/emulator supplies to run the
// kernels on a CPU.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#if !defined(__CUDACC__)
#include "host_primitives.h"
#else

namespace pixelrnn::cuda::primitive {

// The block's dynamic shared memory, aligned to 16 bytes.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}
__device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
// One store of 16 bytes: the compiler takes a vector that it has in registers apart.
__device__ __forceinline__ void store16(uint32_t address, uint4 v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

// ---- thread-block clusters: code for compute capability 9.0 and later. The planner gives older code single blocks. --------
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Everything before the arrival of any thread of the cluster is visible after the wait of any other.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// The address, in the block with that rank, of what has the shared address `address` here.
__device__ __forceinline__ uint32_t map_rank(uint32_t address, uint32_t rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}
__device__ __forceinline__ void store_peer16(uint32_t address, uint4 v) {
  asm volatile("st.shared::cluster.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}
#else
__device__ __forceinline__ uint32_t cluster_rank() { return 0; }
__device__ __forceinline__ void cluster_arrive() { __trap(); }
__device__ __forceinline__ void cluster_wait() { __trap(); }
__device__ __forceinline__ uint32_t map_rank(uint32_t address, uint32_t) { return address; }
__device__ __forceinline__ void store_peer16(uint32_t, uint4) { __trap(); }
#endif

// ---- tensor cores ------------------------------------------------------------------------------------------------------
// Four matrices of 8 rows of 16 bytes; lane i names row i % 8 of matrix i / 8, and gets 4 bytes of row i / 4 of each.
__device__ __forceinline__ void load_matrix4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// d += a b. With q = lane / 4 and p = lane % 4, d[e] is row q + 8 * (e / 2), column 2 * p + e % 2.
#define PIXELRNN_MMA(shape_and_types)                                                                                          \
  asm("mma.sync.aligned." shape_and_types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"          \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                                \
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1))
__device__ __forceinline__ void mma_bf16(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { PIXELRNN_MMA("m16n8k16.row.col.f32.bf16.bf16.f32"); }
__device__ __forceinline__ void mma_fp16(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { PIXELRNN_MMA("m16n8k16.row.col.f32.f16.f16.f32"); }
__device__ __forceinline__ void mma_tf32(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { PIXELRNN_MMA("m16n8k8.row.col.f32.tf32.tf32.f32"); }
#undef PIXELRNN_MMA
__device__ __forceinline__ float round_tf32(float x) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return __uint_as_float(rounded);
}

}  // namespace pixelrnn::cuda::primitive

#endif
