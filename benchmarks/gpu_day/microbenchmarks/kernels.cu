// What single instructions cost on this GPU, in cycles of its SM clock, by the primitives that the scans are made of.
#include "kernels.h"

#include "../../../csrc/cuda/entry.h"
#include "../../../csrc/cuda/primitives.cuh"

namespace pixelrnn::micro {
namespace {

using namespace cuda::primitive;

// The time of all steps of a block. The compiler does not move what a loop computes out of it.
template <class Step> __device__ __forceinline__ void timed(const Args& a, const Step& step) {
  constexpr int unrolled = 8;
  __syncthreads();
  const long long start = clock64();
#pragma unroll 1
  for (int i = 0; i < a.steps; i += unrolled) {
#pragma unroll
    for (int k = 0; k < unrolled; ++k) step(i + k);
  }
  __syncthreads();
  const long long end = clock64();
  if (threadIdx.x == 0) a.cycles[blockIdx.x] = end - start;
}

// What has been computed is used, or the compiler would not compute it.
__device__ __forceinline__ void use(const Args& a, uint32_t value) {
  a.memory[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

// ---- barriers, with as many global stores in flight as a line of a scan has
constexpr int kStores = 3;  // of 16 bytes a thread: h, c and gates

__device__ __forceinline__ void store_line(const Args& a, int i) {
  const int threads = gridDim.x * blockDim.x;
  for (int k = 0; k < kStores; ++k) {
    uint32_t* to = a.memory + 4 * (((i & 15) * kStores + k) * threads + blockIdx.x * blockDim.x + threadIdx.x);
    asm volatile("st.global.v4.b32 [%0], {%1, %1, %1, %1};" ::"l"(__cvta_generic_to_global(to)), "r"(i) : "memory");
  }
}
__device__ __forceinline__ void fence_gpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
__device__ __forceinline__ void cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void transfer_wait_cta(uint32_t barrier, uint32_t parity) {
#if defined(PIXELRNN_EMULATED)  // which knows no smaller scope
  transfer_wait(barrier, parity);
#else
  uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred done;\n"
        "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  } while (!done);
#endif
}
#else
__device__ __forceinline__ void cluster_arrive_relaxed() { __trap(); }
__device__ __forceinline__ void transfer_wait_cta(uint32_t, uint32_t) { __trap(); }
#endif

__device__ __forceinline__ void block_barriers(const Args& a) {
  timed(a, [](int) { asm volatile("bar.sync 0;" ::: "memory"); });
}

template <bool RELEASE, bool STORES> __device__ __forceinline__ void cluster_barriers(const Args& a) {
  timed(a, [&](int i) {
    if (STORES) store_line(a, i);
    if (RELEASE) cluster_arrive();
    else cluster_arrive_relaxed();
    cluster_wait();
  });
}

template <bool FENCE, bool STORES> __device__ __forceinline__ void fences(const Args& a) {
  timed(a, [&](int i) {
    if (STORES) store_line(a, i);
    if (FENCE) fence_gpu();
  });
}

// One lane's arrival and its wait, which nothing else delays.
template <bool CLUSTER> __device__ __forceinline__ void own_waits(const Args& a) {
  __shared__ __align__(8) uint64_t barrier;
  const uint32_t own = shared_address(&barrier);
  if (threadIdx.x == 0) transfer_barrier_init(own, 1);
  timed(a, [&](int i) {
    if (threadIdx.x == 0) {
      transfer_arrive(own, 0);
      if (CLUSTER) transfer_wait(own, i & 1);
      else transfer_wait_cta(own, i & 1);
    }
    __syncwarp();
  });
}

// ---- 16 bytes to a peer, which counts and sends them back
__device__ __forceinline__ void round_trips(const Args& a) {
  __shared__ __align__(16) uint4 inbox;
  __shared__ __align__(8) uint64_t barrier;
  const uint32_t own = shared_address(&barrier), box = shared_address(&inbox), rank = cluster_rank(),
                 half = gridDim.x / 2, peer = rank ^ half;
  const uint32_t peers = map_rank(own, peer), peers_box = map_rank(box, peer);
  const bool first = rank < half;
  if (threadIdx.x == 0) transfer_barrier_init(own, 1);
  cluster_arrive(), cluster_wait();
  uint4 v{};
  timed(a, [&](int i) {
    if (threadIdx.x == 0) {
      if (first) store_peer16_async(true, peers_box, v, peers);
      transfer_arrive(own, 16);
      transfer_wait(own, i & 1);
      v = inbox, ++v.x;
      if (!first) store_peer16_async(true, peers_box, v, peers);
    }
    __syncwarp();
  });
  // The last bytes of a block that leaves early have come: its peer waits for them before it arrives.
  cluster_arrive(), cluster_wait();
  if (threadIdx.x == 0 && first) a.memory[rank] = v.x;  // 2 steps, which the host expects
}

// ---- a line's exchange: every warp pushes 8 cells of 8 halves to every peer, announces what the peers' warps push,
// and waits
__device__ __forceinline__ void exchanges(const Args& a) {
  constexpr int pieces = 8, most_warps = 8, most_blocks = 8;
  __shared__ __align__(16) uint4 line[2][most_blocks][most_warps][pieces];
  __shared__ __align__(8) uint64_t barriers[2];
  const uint32_t rank = cluster_rank(), blocks = gridDim.x, warps = blockDim.x / 32, warp = threadIdx.x / 32,
                 lane = threadIdx.x % 32;
  if (threadIdx.x < 2) transfer_barrier_init(shared_address(&barriers[threadIdx.x]), warps);
  cluster_arrive(), cluster_wait();
  timed(a, [&](int i) {
    const uint32_t buffer = i & 1, own = shared_address(&barriers[buffer]), value = i;
#pragma unroll
    for (int k = 0; k < (most_blocks - 1) * pieces; k += 32) {
      const uint32_t n = k + lane, peer = (rank + 1 + n / pieces) % blocks;
      const bool wanted = n < (blocks - 1) * pieces;
      store_peer16_async(wanted, map_rank(shared_address(&line[buffer][rank][warp][n % pieces]), peer),
          {value, value, value, value}, map_rank(own, peer));
    }
    if (lane == 0) {
      transfer_arrive(own, (blocks - 1) * pieces * 16);
      transfer_wait(own, i >> 1 & 1);
    }
    __syncwarp();
  });
  // Line `steps - 1` is whole, in every warp of every block.
  bool right = true;
  for (uint32_t from = 0; from < blocks; ++from)
    for (uint32_t w = 0; w < warps; ++w)
      right &= from == rank || line[(a.steps - 1) & 1][from][w][lane % pieces].x == uint32_t(a.steps - 1);
  cluster_arrive(), cluster_wait();
  use(a, right);
}

// ---- a taken branch: so many dependent FFMA between two of them
template <int BETWEEN> __device__ __forceinline__ void branches(const Args& a) {
  float x = float(threadIdx.x);
  const float y = __uint_as_float(a.memory[0]), z = __uint_as_float(a.memory[1]);
  __syncthreads();
  const long long start = clock64();
#pragma unroll 1
  for (int i = 0; i < a.steps; i += BETWEEN) {
#pragma unroll
    for (int k = 0; k < BETWEEN; ++k) x = fmaf(x, y, z);
  }
  __syncthreads();
  const long long end = clock64();
  if (threadIdx.x == 0) a.cycles[0] = end - start;
  use(a, __float_as_uint(x));
}

// ---- pipes: CHAINS of dependent instructions a warp
template <int CHAINS, class Multiply> __device__ __forceinline__ void products(
    const Args& a, const Multiply& multiply) {
  const uint32_t word = a.memory[threadIdx.x];
  float d[CHAINS][4];
  for (int c = 0; c < CHAINS; ++c)
    for (float& value : d[c]) value = float(c);
  timed(a, [&](int) {
    for (int c = 0; c < CHAINS; ++c) multiply(d[c], uint4{word, word, word, word}, word, word);
  });
  float sum = 0;
  for (const auto& chain : d)
    for (const float value : chain) sum += value;
  use(a, __float_as_uint(sum));
}
struct Bf16 {
  __device__ __forceinline__ void operator()(float (&d)[4], uint4 x, uint32_t b0, uint32_t b1) const {
    mma_bf16(d, x, b0, b1);
  }
};
struct Tf32 {
  __device__ __forceinline__ void operator()(float (&d)[4], uint4 x, uint32_t b0, uint32_t b1) const {
    mma_tf32(d, x, b0, b1);
  }
};

template <int CHAINS> __device__ __forceinline__ void exponentials(const Args& a) {
  float x[CHAINS];
  for (int c = 0; c < CHAINS; ++c) x[c] = float(c) + __uint_as_float(a.memory[threadIdx.x]);
  timed(a, [&](int) {
    for (float& value : x) value = exp2_approx(value);
  });
  float sum = 0;
  for (const float value : x) sum += value;
  use(a, __float_as_uint(sum));
}

// ---- latencies: each step needs the one before
__device__ __forceinline__ void global_loads(const Args& a) {
  constexpr int lines = 256, words = 16;  // of 128 bytes; in the L2 cache, since .cg passes by L1
  size_t* const next = reinterpret_cast<size_t*>(a.memory);
  for (int i = threadIdx.x; i < lines; i += blockDim.x)
    next[words * i] = __cvta_generic_to_global(next + (i + 1) % lines * words);
  __syncthreads();
  size_t at = __cvta_generic_to_global(next);
  timed(a, [&](int) { asm volatile("ld.global.cg.u64 %0, [%0];" : "+l"(at)::"memory"); });
  use(a, uint32_t(at));
}
__device__ __forceinline__ void shared_loads(const Args& a) {
  __shared__ uint32_t next[32];
  next[threadIdx.x] = shared_address(&next[(threadIdx.x + 1) % 32]);
  __syncthreads();
  uint32_t at = shared_address(next);
  timed(a, [&](int) { asm volatile("ld.shared.u32 %0, [%0];" : "+r"(at)::"memory"); });
  use(a, at);
}
__device__ __forceinline__ void matrix_loads(const Args& a) {
  __shared__ __align__(16) uint32_t rows[4];
  if (threadIdx.x < 4) rows[threadIdx.x] = shared_address(rows);
  __syncthreads();
  uint32_t r[4] = {shared_address(rows)};
  timed(a, [&](int) { load_matrix4(r, r[0]); });
  use(a, r[0]);
}
__device__ __forceinline__ void shuffles(const Args& a) {
  uint32_t value = threadIdx.x;
  timed(a, [&](int) { value = __shfl_xor_sync(0xffffffffu, value, 1); });
  use(a, value);
}

// ---- errors of the approximations, against float64
template <class Approximate, class Exact> __device__ __forceinline__ void errors(
    const Args& a, const Approximate& approximate, const Exact& exact) {
  constexpr double least = 0x1p-126, most = 0x1.fffffep127;  // normal numbers
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  const uint64_t arguments = uint64_t(a.steps) * gridDim.x * blockDim.x;
  const uint32_t stride = uint32_t((uint64_t(1) << 32) / arguments);  // 1: all floats there are
  float worst = 0;
  for (int i = 0; i < a.steps; ++i) {
    const float x = __uint_as_float((thread * uint32_t(a.steps) + i) * stride);
    const double wanted = exact(double(x)), magnitude = fabs(wanted);
    if (!(fabsf(x) >= float(least) && fabsf(x) <= float(most) && magnitude >= least && magnitude <= most)) continue;
    const double ulp = __longlong_as_double((__double_as_longlong(magnitude) & 0x7ff0000000000000ll) - (23ll << 52));
    worst = fmaxf(worst, float(fabs(double(approximate(x)) - wanted) / ulp));
  }
  a.memory[thread] = __float_as_uint(worst);
}
__device__ __forceinline__ void exponential_errors(const Args& a) {
  errors(a, [](float x) { return exp2_approx(x); }, [](double x) { return exp2(x); });
}
__device__ __forceinline__ void reciprocal_errors(const Args& a) {
  errors(a, [](float x) { return reciprocal_approx(x); }, [](double x) { return 1 / x; });
}

}  // namespace

// run_micro.py reads the name and the numbers. The blocks are one cluster; those of an error, the largest over all
// floats in units of the last place, are none, and its steps are the arguments of a thread.
#define KERNEL(name, blocks, threads, steps, ...)                                                         \
  extern "C" __global__ void __launch_bounds__(512) name(const __grid_constant__ Args a) { __VA_ARGS__; } \
  PIXELRNN_DEFINE_ENTRY(name, Args);

KERNEL(block_barrier_256, 1, 256, 2048, block_barriers(a))
KERNEL(block_barrier_512, 1, 512, 2048, block_barriers(a))
KERNEL(cluster_barrier_relaxed_2, 2, 256, 1024, cluster_barriers<false, false>(a))
KERNEL(cluster_barrier_relaxed_8, 8, 256, 1024, cluster_barriers<false, false>(a))
KERNEL(cluster_barrier_release_2, 2, 256, 1024, cluster_barriers<true, false>(a))
KERNEL(cluster_barrier_release_8, 8, 256, 1024, cluster_barriers<true, false>(a))
KERNEL(cluster_relaxed_stores_8, 8, 256, 1024, cluster_barriers<false, true>(a))
KERNEL(cluster_release_stores_8, 8, 256, 1024, cluster_barriers<true, true>(a))
KERNEL(stores, 1, 256, 1024, fences<false, true>(a))
KERNEL(fence, 1, 256, 1024, fences<true, false>(a))
KERNEL(fence_stores, 1, 256, 1024, fences<true, true>(a))
KERNEL(wait_cta, 1, 32, 1024, own_waits<false>(a))
KERNEL(wait_cluster, 1, 32, 1024, own_waits<true>(a))
KERNEL(round_trip_2, 2, 32, 1024, round_trips(a))
KERNEL(round_trip_8, 8, 32, 1024, round_trips(a))
KERNEL(exchange_2, 2, 256, 1024, exchanges(a))
KERNEL(exchange_8, 8, 256, 1024, exchanges(a))
KERNEL(branch_every_8, 1, 32, 8192, branches<8>(a))
KERNEL(branch_every_64, 1, 32, 8192, branches<64>(a))
KERNEL(mma_16816_chains_1, 1, 128, 2048, products<1>(a, Bf16{}))
KERNEL(mma_16816_chains_2, 1, 128, 2048, products<2>(a, Bf16{}))
KERNEL(mma_16816_chains_4, 1, 128, 2048, products<4>(a, Bf16{}))
KERNEL(mma_16816_chains_4_warps_2, 1, 256, 2048, products<4>(a, Bf16{}))
KERNEL(mma_1688_chains_1, 1, 128, 2048, products<1>(a, Tf32{}))
KERNEL(mma_1688_chains_2, 1, 128, 2048, products<2>(a, Tf32{}))
KERNEL(mma_1688_chains_4, 1, 128, 2048, products<4>(a, Tf32{}))
KERNEL(mma_1688_chains_4_warps_2, 1, 256, 2048, products<4>(a, Tf32{}))
KERNEL(ex2_chains_1, 1, 128, 2048, exponentials<1>(a))
KERNEL(ex2_chains_4, 1, 128, 2048, exponentials<4>(a))
KERNEL(ex2_chains_4_warps_2, 1, 256, 2048, exponentials<4>(a))
KERNEL(load_global, 1, 32, 1024, global_loads(a))
KERNEL(load_shared, 1, 32, 1024, shared_loads(a))
KERNEL(load_matrix, 1, 32, 1024, matrix_loads(a))
KERNEL(shuffle, 1, 32, 1024, shuffles(a))
KERNEL(ex2_error, 1024, 256, 16384, exponential_errors(a))
KERNEL(rcp_error, 1024, 256, 16384, reciprocal_errors(a))

}  // namespace pixelrnn::micro
