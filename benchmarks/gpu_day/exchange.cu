// Measures alone what the blocks of a cluster exchange in a line of a scan: pushes, arrivals and waits, with the
// strides and volumes of the kernels.
#include "../../csrc/cuda/primitives.cuh"

namespace {

// exchange.py declares the same structure.
struct Args {
  long long* cycles;   // [blocks] cycles of all lines
  unsigned* is_right;  // [blocks * threads] 1: all pieces of the last line have arrived
  int lines;
  int rows, columns;         // pieces that a block pushes to each target; rows is a multiple of 8
  int stride, step, source;  // bytes between rows, between columns, between the places of two blocks
  int targets;               // equal to the number of blocks: a block pushes to itself, too
};

__device__ __forceinline__ void exchange(const Args& a) {
  using namespace pixelrnn::cuda::primitive;
  const unsigned blocks = gridDim.x, rank = cluster_rank(), warps = blockDim.x / 32, warp = threadIdx.x / 32,
                 lane = threadIdx.x % 32, first = a.targets == blocks ? 0 : 1, parts = a.rows / 8 * a.columns;
  const unsigned buffer_bytes = a.rows * a.stride, lines = shared_address(dynamic_shared()),
                 barriers = lines + 2 * buffer_bytes;
  auto place = [&](unsigned part, unsigned row) {
    return (part / a.columns * 8 + row) * a.stride + part % a.columns * a.step;
  };
  if (threadIdx.x < 2) transfer_barrier_init(barriers + 8 * threadIdx.x, warps);
  cluster_arrive(), cluster_wait();

  const long long start = clock64();
  for (unsigned i = 0; i < a.lines; ++i) {
    const unsigned barrier = barriers + 8 * (i & 1), buffer = lines + (i & 1) * buffer_bytes + rank * a.source;
    unsigned announced = 0;
    for (unsigned part = warp; part < parts; part += warps, announced += 8 * 16 * a.targets)
      for (unsigned n = lane; n - lane < 8 * a.targets; n += 32) {
        const unsigned peer = (rank + first + n / 8) & (blocks - 1);
        store_peer16_async(
            n < 8 * a.targets, map_rank(buffer + place(part, n % 8), peer), {i, i, i, i}, map_rank(barrier, peer));
      }
    if (lane == 0) {
      transfer_arrive(barrier, announced);
      transfer_wait(barrier, i >> 1 & 1);
    }
    __syncwarp();
  }
  __syncthreads();
  if (threadIdx.x == 0) a.cycles[rank] = clock64() - start;

  const unsigned last = a.lines - 1;
  bool right = true;
  for (unsigned part = warp; part < parts; part += warps)
    for (unsigned from = 0; from < blocks; ++from) {
      const unsigned at = (last & 1) * buffer_bytes + from * a.source + place(part, lane % 8);
      right &= (first && from == rank) || reinterpret_cast<const uint4*>(dynamic_shared() + at)->x == last;
    }
  cluster_arrive(), cluster_wait();  // no block leaves before its peers have read
  a.is_right[rank * blockDim.x + threadIdx.x] = right;
}

}  // namespace

#define EXCHANGE(blocks)                                                           \
  extern "C" __global__ void __cluster_dims__(blocks, 1, 1) __launch_bounds__(256) \
      exchange_##blocks(const __grid_constant__ Args a) {                          \
    exchange(a);                                                                   \
  }
EXCHANGE(2)
EXCHANGE(4)
EXCHANGE(8)
