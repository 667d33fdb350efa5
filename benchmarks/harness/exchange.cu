// Measures how long the blocks of a cluster take to exchange a scan's values, without the scan's arithmetic.
#include "../../csrc/cuda/primitives.cuh"

namespace {

// Args in exchange.py must have the same fields.
struct Args {
  long long* cycles;   // [blocks], output: cycles for all lines
  unsigned* is_right;  // [blocks * threads], output: 1 if the last line's values arrived
  int lines;
  // A block stores [rows][columns] pieces of 16 bytes in each target block on each line. `rows` is a multiple of 8.
  int rows, columns;
  // Distances in bytes in the shared memory of the block that receives the values. `block_stride` separates the values
  // of one storing block from the values of the next storing block.
  int row_stride, column_stride, block_stride, buffer_bytes;
};

__device__ __forceinline__ void exchange(const Args& a) {
  using namespace pixelrnn::cuda::ptx;
  const unsigned blocks = gridDim.x, rank = cluster_rank(), warps = blockDim.x / 32, warp = threadIdx.x / 32,
                 lane = threadIdx.x % 32, targets = blocks - 1, parts = a.rows / 8 * a.columns;
  const unsigned lines = shared_address(dynamic_shared()), barriers = lines + 2 * a.buffer_bytes;
  auto offset_of = [&](unsigned part, unsigned row) {
    return (part / a.columns * 8 + row) * a.row_stride + part % a.columns * a.column_stride;
  };
  if (threadIdx.x < 2) mbarrier_init(barriers + 8 * threadIdx.x, 1, warps), mbarrier_fence();
  cluster_arrive(), cluster_wait();

  const long long start = clock64();
  for (unsigned i = 0; i < a.lines; ++i) {
    const unsigned barrier = barriers + 8 * (i & 1), buffer = lines + (i & 1) * a.buffer_bytes + rank * a.block_stride;
    unsigned announced = 0;
    for (unsigned part = warp; part < parts; part += warps, announced += 8 * 16 * targets)
      for (unsigned n = lane; n - lane < 8 * targets; n += 32) {
        const unsigned peer = (rank + 1 + n / 8) & (blocks - 1);
        store_peer16_async(n < 8 * targets, peer_address(buffer + offset_of(part, n % 8), peer), {i, i, i, i},
            peer_address(barrier, peer));
      }
    if (lane == 0) {
      mbarrier_arrive(barrier, announced);
      mbarrier_wait(barrier, i >> 1 & 1);
    }
    __syncwarp();
  }
  __syncthreads();
  if (threadIdx.x == 0) a.cycles[rank] = clock64() - start;

  const unsigned last = a.lines - 1;
  bool right = true;
  for (unsigned part = warp; part < parts; part += warps)
    for (unsigned from = 0; from < blocks; ++from) {
      const unsigned offset = (last & 1) * a.buffer_bytes + from * a.block_stride + offset_of(part, lane % 8);
      right &= from == rank || reinterpret_cast<const uint4*>(dynamic_shared() + offset)->x == last;
    }
  cluster_arrive(), cluster_wait();  // waits until no peer accesses this block's shared memory
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
