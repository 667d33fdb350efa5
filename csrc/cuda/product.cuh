// The recurrent product of a warp: z += weights * line for one slice of matrix rows and the 8 cells of one tile.
//
// z[i][j] is matrix row `row_of(i)` and cell 2 * p + j of the tile, with q = lane / 4 and p = lane % 4:
//   tensor core: row i / 2 * 16 + i % 2 * 8 + q of the slice
//   FMA:         row 4 * q + i of the slice
#pragma once
#include "format.cuh"

namespace pixelrnn::cuda {

// `row` is the shared address of the line's row that the first cell of the tile reads first; M2 = 2 * number of 16-row tiles.
// PAIRS > 0 unrolls the product over at most so many pairs, so that `weight` can name registers.
template <Format F, int PAIRS, int M2, class Weight>
__device__ __forceinline__ void multiply(float (&z)[M2][2], uint32_t row, const Tiling& s, int lane, const Weight& weight) {
  float even[M2 / 2][4] = {}, odd[M2 / 2][4] = {};  // two chains hide the latency of the tensor core
  const int pairs = s.pairs(), pairs_of_tap = s.pairs_of_tap(), to_next_tap = s.stride() - (pairs_of_tap - 1) * kPairBytes;
  int left = pairs_of_tap;
  row += (lane & 7) * s.stride() + (lane >> 3) * 16;
  auto load = [&](uint32_t (&to)[4]) {
    primitive::load_matrix4(to, row);
    const bool next_tap = --left == 0;
    row += next_tap ? to_next_tap : kPairBytes;
    left = next_tap ? pairs_of_tap : left;
  };
  auto multiply_pair = [&](int pair, const uint32_t (&b)[4]) {
#pragma unroll
    for (int m = 0; m < M2 / 2; ++m) {
      Traits<F>::mma(even[m], weight(m, 2 * pair), b[0], b[1]);
      Traits<F>::mma(odd[m], weight(m, 2 * pair + 1), b[2], b[3]);
    }
  };
  uint32_t b[2][4];  // a pair is loaded while the one before it is multiplied
  load(b[0]);
  if constexpr (PAIRS > 0) {
#pragma unroll
    for (int pair = 0; pair < PAIRS; ++pair)
      if (pair < pairs) {
        if (pair + 1 < pairs) load(b[(pair + 1) & 1]);
        multiply_pair(pair, b[pair & 1]);
      }
  } else {
    for (int pair = 0; pair < pairs; pair += 2) {
      if (pair + 1 < pairs) load(b[1]);
      multiply_pair(pair, b[0]);
      if (pair + 1 == pairs) break;
      if (pair + 2 < pairs) load(b[0]);
      multiply_pair(pair + 1, b[1]);
    }
  }
#pragma unroll
  for (int i = 0; i < M2; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) z[i][j] = even[i / 2][2 * (i % 2) + j] + odd[i / 2][2 * (i % 2) + j];
}

// `row` is the line's row that cell 2 * p of the tile reads first, `weights` the thread's first column of the packed [K][M].
__device__ __forceinline__ void multiply_fma(float (&z)[4][2], const unsigned char* row, const Tiling& s, const float* weights) {
#pragma unroll
  for (int i = 0; i < 4; ++i) z[i][0] = z[i][1] = 0;
  const int columns = s.matrix_rows(), stride = s.stride(), width = s.tap_width();
  for (int tap = 0; tap < s.taps; ++tap, row += stride)
    for (int k = 0; k < width; k += 4) {
      float cell[2][4];
      *reinterpret_cast<float4*>(cell[0]) = *reinterpret_cast<const float4*>(row + 4 * k);
      *reinterpret_cast<float4*>(cell[1]) = *reinterpret_cast<const float4*>(row + stride + 4 * k);
#pragma unroll
      for (int n = 0; n < 4; ++n, weights += columns) {
        const float4 w = *reinterpret_cast<const float4*>(weights);
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          z[0][j] = fmaf(w.x, cell[j][n], z[0][j]);
          z[1][j] = fmaf(w.y, cell[j][n], z[1][j]);
          z[2][j] = fmaf(w.z, cell[j][n], z[2][j]);
          z[3][j] = fmaf(w.w, cell[j][n], z[3][j]);
        }
      }
    }
}

// The resident weights of a warp's slice of TILES 16-row tiles: in registers (PAIRS > 0: at most so many), else the block's are in
// shared memory, where a block barrier has to follow.
template <Format F, int TILES, int PAIRS> struct SliceWeights {
  uint4 held[TILES][PAIRS ? 2 * PAIRS : 1];
  uint4* shared;
  int first, steps;  // of the slice's pieces

  __device__ __forceinline__ SliceWeights(const Tiling& s, const uint4* packed, uint4* shared_memory, int slice, int lane)
      : shared(shared_memory), first(slice * TILES * 2 * s.pairs() * 32 + lane), steps(2 * s.pairs()) {
    if constexpr (PAIRS > 0) {
#pragma unroll
      for (int m = 0; m < TILES; ++m)
#pragma unroll
        for (int step = 0; step < 2 * PAIRS; ++step)
          if (step < steps) held[m][step] = packed[first + (m * steps + step) * 32];
    } else {
      for (int i = threadIdx.x; i < s.weight_bytes() / 16; i += blockDim.x) shared[i] = packed[i];
    }
  }
  __device__ __forceinline__ uint4 operator()(int m, int step) const {
    if constexpr (PAIRS > 0)
      return held[m][step];
    else
      return shared[first + (m * steps + step) * 32];
  }
};

}  // namespace pixelrnn::cuda
