#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

constexpr int kSteps = 5;

__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

// Five steps: each block adds 1 to its 64 values, and stores them in the shared memory of its peer, the other block of
// its cluster. Two buffers take turns. Each warp stores 8 times 16 bytes asynchronously. The buffer's mbarrier counts
// these bytes, and one arrival by each warp.
KERNEL(64, relay) {
  unsigned char* const buffers = dynamic_shared();
  const int t = threadIdx.x, lane = t % 32, me = cluster_rank(),
            peer = a.way == rank_outside ? 2
                   : a.way == wrong_peer ? 0
                                         : 1 - me;
  const uint32_t barriers = shared_address(buffers) + 512 + (a.way == misaligned_barrier ? 4 : 0);
  for (int b = 0; b < 2; ++b) shared_floats(256 * b)[t] = input(a)[index()];
  if (t < 2 && (a.way != not_initialised || t == 0)) {
    const int count = a.way == counts_more ? 3 : a.way == counts_none ? 0 : 2;
    if (a.way == no_fence) init_without_fence(barriers + 8 * t, count);
    else mbarrier_init(barriers + 8 * t, count);
    if (a.way == initialised_twice) mbarrier_init(barriers + 8 * t, count);
  }
  if (a.way == no_start) __syncthreads();
  else cluster_barrier();
  if (a.way == writes_barrier && t == 0) shared_floats(512)[0] = 0;
  for (int step = 0; step < kSteps; ++step) {
    const int from = step % 2, to = 1 - from;
    if (a.way == block_leaves && me == 1 && step == 1) return;
    const uint32_t barrier = barriers + 8 * to;
    if (lane < 8) {
      const int piece = 256 * to + 16 * (t / 32 * 8 + lane);
      const uint4 sent = plus_one(*reinterpret_cast<const float4*>(buffers + piece + 256 * (from - to)));
      store_peer16_async(true, map_rank(shared_address(buffers + piece), peer), sent,
          map_rank(barrier, a.way == barrier_elsewhere ? me : peer));
    }
    if (a.way == no_last_barrier && step == kSteps - 1) break;
    if (a.way == reads_early) reinterpret_cast<volatile float*>(buffers + 256 * to)[t];
    const int bytes = a.way == too_few_bytes ? 112 : a.way == half_a_piece ? 124 : a.way == too_many_bytes ? 144 : 128;
    if (lane == 0 && (a.way != no_arrival || t == 0)) mbarrier_arrive(barrier, bytes);
    if (lane == 0 && a.way == arrives_twice) mbarrier_arrive(barrier, bytes);
    const bool other = a.way == waits_for_other_buffer && step > 0;
    const int parity = a.way == wrong_parity ? 0 : other ? (step - 1) / 2 % 2 : step / 2 % 2;
    if ((lane == 0 || a.way == misses_a_phase) && a.way != no_wait)
      mbarrier_wait(other ? barriers + 8 * from : barrier, parity);
    if (a.way != misses_a_phase && a.way != no_warp_barrier) __syncwarp();
  }
  output(a)[index()] = shared_floats(256 * (kSteps % 2))[t];
}

// Every block reverses the order of its 64 values. Its threads meet at an mbarrier, which counts no bytes.
KERNEL(64, meet) {
  float* const s = shared_floats();
  const int t = threadIdx.x;
  const uint32_t barrier = shared_address(s + 64);
  if (t == 0) init_without_fence(barrier, 64);  // no fence is needed, because no other block uses this mbarrier
  if (a.way != no_start) __syncthreads();
  s[t] = input(a)[index()];
  if (a.way != no_arrival || t != 40) arrive(barrier);
  if (a.way != no_wait) mbarrier_wait(barrier, 0);
  output(a)[index()] = s[63 - t];
}
