#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

KERNEL(64, reverse) {
  float* const s = shared_floats();
  const int t = threadIdx.x, first = blockIdx.x * 64;
  float* const in = static_cast<float*>(const_cast<void*>(a.in));
  float* const out = output(a);
  if (a.way == misaligned && t == 0) {
    const float2 two = *reinterpret_cast<const float2*>(in + 1);
    s[0] = two.x + two.y;
  }
  if (a.way == writes_input && t == 5) in[first] = 0;
  if (a.way != reads_unwritten_shared || t != 7)
    s[t] = in[first + t + (a.way == beyond_global ? 64 * int(gridDim.x) - 63 : 0)];
  if (a.way == lane_leaves && t == 40) return;
  if (a.way == lanes_diverge) {
    if (t % 32 < 16) __syncthreads();
    else __syncthreads();
  } else if (a.way == collective_against_barrier && t % 32 < 16) {
    __syncwarp();
  } else if (a.way != no_block_barrier) {
    __syncthreads();
  }
  float v = s[a.way == beyond_shared ? 64 + t : 63 - t];
  if (a.way == reads_unwritten_out) v += out[first + t];
  if (a.way == read_only_load_of_output) v += __ldg(out + first + t);
  if (a.way != leaves_out_unwritten || t != 63) out[first + t] = v;
}

KERNEL(64, swap) {
  float* const s = shared_floats();
  const int t = threadIdx.x;
  s[t] = input(a)[index()];
  if (a.way == vote_instead_of_warp_barrier) __all_sync(0xffffffff, 1);
  else if (a.way != no_warp_barrier) __syncwarp();
  output(a)[index()] = s[t ^ 1];
}

// The last thread changes a value between two reads by all threads.
KERNEL(64, broadcast) {
  float* const s = shared_floats();
  const int t = threadIdx.x;
  if (t == 0) s[0] = input(a)[index()];
  __syncthreads();
  const float v = s[0];
  if (a.way != no_block_barrier) __syncthreads();
  if (t == 63) s[0] = v + 1;
  __syncthreads();
  output(a)[index()] = v + s[0];
}

KERNEL(64, sum) {
  const int t = threadIdx.x;
  float v = input(a)[index()];
  if (a.way == absent_lanes) {
    if (t % 32 < 20) v += __shfl_xor_sync(0xffffffff, v, 16);
  } else if (a.way == lane_outside_mask) {
    if (t % 32 < 16) v += __shfl_down_sync(0xffff, v, 4);
  } else {
    for (int bit = 16; bit; bit /= 2) v += __shfl_xor_sync(0xffffffff, v, bit);
  }
  output(a)[index()] = v;
}

// Each lane has a value, and adds 1 to it until a vote of the warp finds that all values are at least 256.
KERNEL(64, agree) {
  const int t = threadIdx.x;
  float v = input(a)[index()];
  if (a.way != absent_lanes || t % 32 < 20)
    while (!__all_sync(0xffffffff, v >= 256)) ++v;
  output(a)[index()] = v;
}

// The worst memory access: each lane in another sector of global memory, and all lanes in one bank of shared memory.
KERNEL(32, strided) {
  float* const s = shared_floats();
  const int t = threadIdx.x;
  s[32 * t] = input(a)[32 * t];
  __syncwarp();
  output(a)[t] = s[32 * (t ^ 1)];
}
