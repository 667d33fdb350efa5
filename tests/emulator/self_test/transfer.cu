#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

constexpr int kSteps = 5;

// In each of five steps, each block stores its values plus 1 asynchronously in its peer's shared memory. Two buffers
// alternate. The mbarrier of a buffer counts bytes, and an arrival of each warp. A warp that does not arrive still
// cannot miss a phase of the mbarrier. The next phase ends only after the peer has stored more bytes, and the peer
// waits for bytes of this warp before it stores more bytes.
KERNEL(64, relay) {
  constexpr int kArrivals = 2;
  unsigned char* const buffers = dynamic_shared();
  const int t = threadIdx.x, lane = t % 32, me = cluster_rank(),
            peer = a.way == rank_outside ? 2
                   : a.way == wrong_peer ? 0
                                         : 1 - me;
  const uint32_t barriers = shared_address(buffers) + 512 + (a.way == misaligned_barrier ? 4 : 0);
  for (int b = 0; b < 2; ++b) shared_floats(256 * b)[t] = input(a)[index()];
  if (t < 2 && (a.way != not_initialised || t == 0)) {
    const int count = a.way == counts_none ? 0 : kArrivals + (a.way == counts_more);
    if (a.way == no_fence) init_without_fence(barriers + 8 * t, count);
    else mbarrier_init(barriers + 8 * t, count);
    if (a.way == initialised_twice) mbarrier_init(barriers + 8 * t, count);
  }
  if (a.way == no_start || (a.way == deadlocks && t >= 32)) __syncthreads();
  else if (a.way == cluster_lanes_diverge && lane < 16) cluster_barrier();
  else cluster_barrier();
  if (a.way == writes_barrier && t == 0) shared_floats(512)[0] = 0;
  for (int step = 0; step < kSteps; ++step) {
    const int from = step % 2, to = 1 - from;
    if (a.way == block_leaves && me == 1 && step == 1) return;
    const uint32_t barrier = barriers + 8 * to;
    if (lane < 8) {
      const int piece = 256 * to + 128 * (t / 32) + 16 * lane;
      const float4 sent = plus_one(*reinterpret_cast<const float4*>(buffers + piece + 256 * (from - to)));
      if (step == 0 && a.way == reads_global_store) output(a)[index()] = 0;
      if (step == 0 && a.way == overwrites_shared_store && t < 4) shared_floats(528)[t] = 0;
      store_peer_async(map_rank(shared_address(buffers + piece + (a.way == misaligned ? 2 : 0)), peer), sent,
          map_rank(barrier, a.way == barrier_elsewhere ? me : peer));
    }
    if (a.way == no_last_barrier && step == kSteps - 1) break;
    if (a.way == reads_early) reinterpret_cast<volatile float*>(buffers + 256 * to)[t];
    const int missing = a.way == too_few_bytes ? 16 : a.way == half_a_piece ? 4 : a.way == too_many_bytes ? -16 : 0;
    if (t % (64 / kArrivals) == 0) {
      if (a.way != no_arrival || t == 0) mbarrier_arrive(barrier, 256 / kArrivals - missing);
      if (a.way == arrives_twice) mbarrier_arrive(barrier, 256 / kArrivals - missing);
    }
    const bool other = a.way == waits_for_other_buffer && step > 0;
    const int parity = a.way == wrong_parity ? 0 : other ? (step - 1) / 2 % 2 : step / 2 % 2;
    if ((lane == 0 || a.way == misses_a_phase) && a.way != no_wait)
      mbarrier_wait(other ? barriers + 8 * from : barrier, parity);
    if (a.way != misses_a_phase && a.way != no_warp_barrier) __syncwarp();
    if (step == 2 && t == 0) {  // the peer's asynchronous stores have come, but publish no other writes
      if (a.way == reads_global_store) static_cast<volatile float*>(output(a))[64 * (blockIdx.x ^ 1)];
      if (a.way == overwrites_shared_store) store_peer16(map_rank(shared_address(buffers + 528), peer), {});
      if (a.way == reads_back) load_peer(map_rank(shared_address(buffers + 256 * from), peer));
    }
  }
  output(a)[index()] = shared_floats(256 * (kSteps % 2))[t];
}

// Each thread adds up 8 values, one of each bulk load. Three buffers take turns, each with an mbarrier. The block
// writes the values back, so that a deliberate error can overwrite a load's source too early.
KERNEL(64, pipeline) {
  constexpr int kLoads = 8, kStages = 3;
  unsigned char* const stages = dynamic_shared();
  const int t = threadIdx.x, me = cluster_rank();
  const uint32_t barriers = shared_address(stages + 32 * kStages);
  float* const values = static_cast<float*>(const_cast<void*>(a.in)) + 64 * blockIdx.x;
  if (t < kStages) {
    if (a.way == no_fence) init_without_fence(barriers + 8 * t, 1);
    else mbarrier_init(barriers + 8 * t, 1);
  }
  if (a.way == writes_stage && t < 8) shared_floats()[t] = 0;
  if (a.way == writes_source && t < 8) static_cast<volatile float*>(values)[t] = values[t];
  if (a.way == loads_output) output(a)[index()] = 0;
  __syncthreads();
  const auto load = [&](int n) {
    const uint32_t barrier = barriers + 8 * (n % kStages), stage = shared_address(stages + 32 * (n % kStages));
    const float* from = a.way == loads_output || a.way == reads_unwritten_out ? output(a) + 64 * blockIdx.x : values;
    if (a.way == loads_shared_memory) {
      from = shared_floats();
      asm("" : "+l"(from));  // keeps the address generic
    }
    from += 8 * n + (a.way == misaligned ? 1 : a.way == beyond_global ? 64 * int(gridDim.x) - 4 : 0);
    mbarrier_arrive(barrier, a.way == too_few_bytes ? 16 : a.way == too_many_bytes ? 48 : 32);
    bulk_load(a.way == wrong_peer ? map_rank(stage, 1 - me) : stage, from, a.way == half_a_piece ? 24 : 32,
        a.way == barrier_elsewhere ? map_rank(barrier, 1 - me) : barrier);
  };
  if (t == 0)
    for (int n = 0; n < kStages; ++n) load(n);
  float sum = 0;
  for (int n = 0; n < kLoads; ++n) {
    if (a.way == block_leaves && n == kLoads - 1) break;
    if (a.way == overwrites_source && t < 8) values[8 * n + t] = 0;
    if (a.way != no_wait) mbarrier_wait(barriers + 8 * (n % kStages), n / kStages % 2 ^ (a.way == wrong_parity));
    const float v = shared_floats(32 * (n % kStages))[t % 8];
    if (t < 8) values[8 * n + t] = v;
    if (a.way != no_block_barrier) __syncthreads();
    if (t == 0 && n + kStages < kLoads) load(n + kStages);
    sum += v;
  }
  output(a)[index()] = sum;
}

// Each block loads its peer's values after all threads of the peer have arrived at the block's first mbarrier. The
// second one says that the peer has loaded the block's values.
KERNEL(64, handshake) {
  float* const s = shared_floats();
  const int t = threadIdx.x, peer = a.way == wrong_peer ? 0 : 1 - int(cluster_rank());
  const uint32_t barriers = shared_address(s + 64);
  if (t < 2) {
    if (a.way == no_fence) init_without_fence(barriers + 8 * t, 64);
    else mbarrier_init(barriers + 8 * t, a.way == counts_more ? 65 : 64);
  }
  if (a.way == no_start) __syncthreads();
  else cluster_barrier();
  s[t] = input(a)[index()];
  if (a.way != no_arrival || t != 40) mbarrier_arrive_peer(map_rank(barriers, peer));
  if (a.way == writes_after_arrival) s[t] = input(a)[index()];
  if (a.way != no_wait) mbarrier_wait(barriers, 0);
  const uint32_t address = map_rank(shared_address(s + t), 1 - cluster_rank());
  float v;
  if (a.way == plain_access_to_peer) asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address) : "memory");
  else v = load_peer(address);
  output(a)[index()] = v;
  if (a.way == block_leaves) return;
  mbarrier_arrive_peer(map_rank(barriers + 8, peer));
  mbarrier_wait(barriers + 8, 0);
}
