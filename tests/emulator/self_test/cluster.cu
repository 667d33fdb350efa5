#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

constexpr int kSteps = 3;

// In each step, each block stores its values plus 1 in the next block's shared memory, in alternating buffers.
KERNEL(64, ring) {
  unsigned char* const buffers = dynamic_shared();
  const int t = threadIdx.x, me = cluster_rank(), ranks = 2;
  const int next = a.way == rank_outside ? ranks : a.way == wrong_peer ? 0 : (me + 1) % ranks;
  for (int b = 0; b < 2; ++b) shared_floats(256 * b)[t] = input(a)[index()];
  if (a.way == no_start) __syncthreads();
  else cluster_barrier();
  for (int step = 0; step < kSteps; ++step) {
    const int from = a.way == one_buffer ? 0 : step % 2, to = a.way == one_buffer ? 0 : 1 - from;
    if (a.way == block_leaves && me == 1 && step == 1) return;
    if (t < 16) {
      const float4 piece = plus_one(*reinterpret_cast<const float4*>(buffers + 256 * from + 16 * t));
      store_peer16(map_rank(shared_address(buffers + 256 * to + 16 * t), next), piece);
    }
    if (a.way == no_last_barrier && step == kSteps - 1) break;
    if (a.way == block_barrier_instead) {
      __syncthreads();
    } else if (a.way == cluster_lanes_diverge && t % 32 < 16) {
      cluster_barrier();
    } else if (a.way == deadlocks && t >= 32) {
      __syncthreads();
    } else {
      if (a.way == arrives_twice) cluster_arrive();
      cluster_arrive();
      if (a.way != no_wait) cluster_wait();
    }
  }
  output(a)[index()] = shared_floats(256 * (a.way == one_buffer ? 0 : kSteps % 2))[t];
}

// Each block loads 64 values from its peer's static shared memory.
KERNEL(64, pull) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = input(a)[index()];
  cluster_barrier();
  const uint32_t address = map_rank(shared_address(s + t), cluster_rank() ^ 1);
  float v;
  if (a.way == plain_access_to_peer) asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  else v = load_peer(address);
  output(a)[index()] = v;
  if (a.way == read_only_load_of_output) output(a)[0] = __ldg(output(a) + t);
  if (a.way == no_last_barrier) return;
  cluster_barrier();
}
