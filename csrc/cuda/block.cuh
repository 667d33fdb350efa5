// Where a thread stands, and how the blocks that share an image meet.
#pragma once
#include "primitives.cuh"
#include "tiling.h"

namespace pixelrnn::cuda {

struct Place {
  int thread, lane, q, p;   // q: row in a tile, p: pair of cells in a tile
  int slice, group;         // of the warp: which matrix rows, which tiles of the line
  int rank, image, direction;
  int64_t map;              // first cell of the image in a map

  __device__ __forceinline__ Place(const Tiling& s, int images, int pixels) {
    thread = threadIdx.x, lane = thread & 31, q = lane >> 2, p = lane & 3;
    slice = (thread >> 5) % s.slices(), group = (thread >> 5) / s.slices();
    rank = s.blocks > 1 ? int(primitive::cluster_rank()) : 0;
    image = blockIdx.x / s.blocks, direction = blockIdx.y;
    map = (int64_t(direction) * images + image) * pixels;
  }
};

// Between arrive and wait a thread may do what no other thread waits for.
__device__ __forceinline__ void arrive(const Tiling& s) {
  if (s.blocks > 1) primitive::cluster_arrive();
}
__device__ __forceinline__ void wait(const Tiling& s) {
  if (s.blocks > 1)
    primitive::cluster_wait();
  else
    __syncthreads();
}

// The window of active cells of a line.
struct Window {
  int first, last;
  __device__ __forceinline__ Window(const Geometry& g, int line) : first(g.first(line)), last(g.last(line)) {}
  __device__ __forceinline__ bool has(int cell) const { return cell >= first && cell < last; }
  __device__ __forceinline__ bool meets(int cell) const { return cell < last && cell + kTileCells > first; }
};

}  // namespace pixelrnn::cuda
