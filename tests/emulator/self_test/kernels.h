// Arguments of the emulator's own test kernels. `way` is `right`, or names a deliberate error.
#pragma once

// The Python module driver.py reads the names below from this file.
// clang-format off
enum Way : int {
  right,
  // a block
  no_block_barrier, lane_leaves, lanes_diverge, beyond_global, beyond_shared, misaligned, writes_input,
  reads_unwritten_shared, reads_unwritten_out, leaves_out_unwritten,
  // a warp
  no_warp_barrier, vote_instead_of_warp_barrier, absent_lanes, lane_outside_mask,
  // a cluster
  no_start, no_wait, no_last_barrier, block_leaves, rank_outside, wrong_peer,
  arrives_twice, cluster_lanes_diverge, deadlocks, plain_access_to_peer, collective_against_barrier,
  read_only_load_of_output,
  // an mbarrier
  no_arrival, no_fence, not_initialised, initialised_twice, misaligned_barrier, writes_barrier, counts_more,
  counts_none, too_few_bytes, half_a_piece, too_many_bytes, reads_early, waits_for_other_buffer, wrong_parity,
  misses_a_phase, barrier_elsewhere, reads_global_store, overwrites_shared_store, reads_back,
  writes_after_arrival,
  // a bulk load
  writes_stage, writes_source, overwrites_source, loads_output, loads_shared_memory,
  // matrices
  swapped_fragments, not_rounded,
};
// clang-format on

struct Args {
  const void* in;
  void* out;
  int in_bytes, out_bytes;
  int way;
};

#ifdef __CUDACC__
#define KERNEL(threads, name) extern "C" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Args a)
inline __device__ int index() { return blockIdx.x * blockDim.x + threadIdx.x; }
inline __device__ auto input(const Args& a) { return static_cast<const float*>(a.in); }
inline __device__ auto output(const Args& a) { return static_cast<float*>(a.out); }
#endif
