// Inline assembly for PTX that CUDA C++ lacks, such as mma and st.async.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#define PRIMITIVE __device__ __forceinline__

namespace emulator::primitive {

PRIMITIVE unsigned char* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char memory[];
  return memory;
}
PRIMITIVE float* shared_floats(int offset = 0) { return reinterpret_cast<float*>(dynamic_shared() + offset); }
PRIMITIVE float4 plus_one(float4 v) { return {v.x + 1, v.y + 1, v.z + 1, v.w + 1}; }
PRIMITIVE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

#define APPROXIMATE(name, instruction)              \
  PRIMITIVE float name(float x) {                   \
    float y;                                        \
    asm(instruction " %0, %1;" : "=f"(y) : "f"(x)); \
    return y;                                       \
  }
APPROXIMATE(exp2_approx, "ex2.approx.ftz.f32")
APPROXIMATE(reciprocal_approx, "rcp.approx.ftz.f32")
PRIMITIVE float round_tf32(float x) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
  return __uint_as_float(rounded);
}

PRIMITIVE uint32_t cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
PRIMITIVE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
PRIMITIVE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
PRIMITIVE void cluster_barrier() { cluster_arrive(), cluster_wait(); }
PRIMITIVE uint32_t map_rank(uint32_t address, uint32_t rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}
PRIMITIVE float load_peer(uint32_t address) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  return v;
}
PRIMITIVE void store_peer16(uint32_t address, float4 v) {
  asm volatile(
      "st.shared::cluster.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w)
      : "memory");
}
PRIMITIVE void init_without_fence(uint32_t barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
PRIMITIVE void mbarrier_init(uint32_t barrier, uint32_t count) {
  init_without_fence(barrier, count);
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
PRIMITIVE void mbarrier_arrive(uint32_t barrier, uint32_t expected_bytes) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}" ::"r"(barrier),
      "r"(expected_bytes)
      : "memory");
}
PRIMITIVE void mbarrier_arrive_peer(uint32_t barrier) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}
PRIMITIVE void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred done;\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (!done);
}
PRIMITIVE void store_peer_async(uint32_t address, float4 v, uint32_t barrier) {
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(address),
      "r"(__float_as_uint(v.x)), "r"(__float_as_uint(v.y)), "r"(__float_as_uint(v.z)), "r"(__float_as_uint(v.w)),
      "r"(barrier)
      : "memory");
}
PRIMITIVE void bulk_load(uint32_t address, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(address),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
      : "memory");
}

PRIMITIVE void load_matrix4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(address)
      : "memory");
}
#define MULTIPLY(name, types)                                                                        \
  PRIMITIVE void name(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) {                            \
    asm("mma.sync.aligned." types " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                             \
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));                                 \
  }
MULTIPLY(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
MULTIPLY(mma_fp16, "m16n8k16.row.col.f32.f16.f16.f32")
MULTIPLY(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")

}  // namespace emulator::primitive
