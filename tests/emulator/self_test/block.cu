#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

extern "C" __global__ void __launch_bounds__(64) reverse(const __grid_constant__ Args a) {
  float* const s = reinterpret_cast<float*>(dynamic_shared());
  const int t = threadIdx.x, first = blockIdx.x * 64;
  float* const in = static_cast<float*>(const_cast<void*>(a.in));
  float* const out = static_cast<float*>(a.out);
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
  if (a.way != leaves_out_unwritten || t != 63) out[first + t] = v;
}

// Neighbouring lanes swap their values through shared memory.
extern "C" __global__ void __launch_bounds__(64) swap(const __grid_constant__ Args a) {
  float* const s = reinterpret_cast<float*>(dynamic_shared());
  const int t = threadIdx.x, first = blockIdx.x * 64;
  s[t] = static_cast<const float*>(a.in)[first + t];
  if (a.way == vote_instead_of_warp_barrier) __all_sync(0xffffffff, 1);
  else if (a.way != no_warp_barrier) __syncwarp();
  static_cast<float*>(a.out)[first + t] = s[t ^ 1];
}

// All threads read one value, which the last thread then changes.
extern "C" __global__ void __launch_bounds__(64) broadcast(const __grid_constant__ Args a) {
  float* const s = reinterpret_cast<float*>(dynamic_shared());
  const int t = threadIdx.x, first = blockIdx.x * 64;
  if (t == 0) s[0] = static_cast<const float*>(a.in)[first];
  __syncthreads();
  const float v = s[0];
  if (a.way != no_block_barrier) __syncthreads();
  if (t == 63) s[0] = v + 1;
  __syncthreads();
  static_cast<float*>(a.out)[first + t] = v + s[0];
}

extern "C" __global__ void __launch_bounds__(64) sum(const __grid_constant__ Args a) {
  const int t = threadIdx.x, first = blockIdx.x * 64;
  float v = static_cast<const float*>(a.in)[first + t];
  if (a.way == absent_lanes) {
    if (t % 32 < 20) v += __shfl_xor_sync(0xffffffff, v, 16);
  } else if (a.way == lane_outside_mask) {
    if (t % 32 < 16) v += __shfl_down_sync(0xffff, v, 4);
  } else {
    for (int bit = 16; bit; bit /= 2) v += __shfl_xor_sync(0xffffffff, v, bit);
  }
  static_cast<float*>(a.out)[first + t] = v;
}

// Every warp adds 1 to all its values until all are at least 256.
extern "C" __global__ void __launch_bounds__(64) agree(const __grid_constant__ Args a) {
  const int t = threadIdx.x, first = blockIdx.x * 64;
  float v = static_cast<const float*>(a.in)[first + t];
  if (a.way != absent_lanes || t % 32 < 20)
    while (!__all_sync(0xffffffff, v >= 256)) ++v;
  static_cast<float*>(a.out)[first + t] = v;
}

// Each lane reads its own sector of global memory, and all lanes use one bank of shared memory.
extern "C" __global__ void __launch_bounds__(32) strided(const __grid_constant__ Args a) {
  float* const s = reinterpret_cast<float*>(dynamic_shared());
  const int t = threadIdx.x;
  s[32 * t] = static_cast<const float*>(a.in)[32 * t];
  __syncwarp();
  static_cast<float*>(a.out)[t] = s[32 * (t ^ 1)];
}
