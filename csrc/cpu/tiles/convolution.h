#pragma once
#include "pack_scan.h"
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// The largest number of output pixels in a tile of one or two vectors of outputs. A tile of four vectors has at most
// kRows output pixels.
constexpr int kConvolutionCells = k32Registers && !kNeon ? 14 : kRows;

template <class T, int R, int N>
void convolution_tile(const Cells<T>& cells, int i0, int outputs, int o0, const T* w, bool relu, T* y) {
  constexpr int L = lanes<T>;
  Vec<T> acc[R][N] = {};
  multiply_taps<T, R, N>(cells, i0, w, acc);
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) {
    const int o = o0 + v * L;
    store(y + cells.cell[i0 + m] * outputs + o, relu ? max(Vec<T>{}, acc[m][v]) : acc[m][v], outputs - o);
  }
}

template <class T> struct ConvolutionTiles {
  static constexpr int L = lanes<T>;
  // In bfloat16, 14 pixels of many channels are often a multiple of 4 KiB apart, so that they evict each other from the
  // L1 cache.
  static constexpr bool kFourVectors = kNeon || (k32Registers && kDepth<T> == 2);

  static int block_outputs(int outputs, int o0) {
    const int left = outputs - o0;
    return kFourVectors && left > 3 * L ? 4 * L : left > L ? 2 * L : L;
  }
  static void convolve(
      const Cells<T>& cells, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y, T*) {
    const int block = block_outputs(outputs, o0);
    if constexpr (kFourVectors)
      if (block == 4 * L) return convolve_block<4, kRows>(cells, first, count, outputs, o0, packed, relu, y);
    block == L ? convolve_block<1, kConvolutionCells>(cells, first, count, outputs, o0, packed, relu, y)
               : convolve_block<2, kConvolutionCells>(cells, first, count, outputs, o0, packed, relu, y);
  }
  template <int N, int max>
  static void convolve_block(
      const Cells<T>& cells, int i0, int count, int outputs, int o0, const T* w, bool relu, T* y) {
    const int tiles = (count + max - 1) / max;
    for (int t = 0; t < tiles; ++t) {
      const int first = count * t / tiles, last = count * (t + 1) / tiles;
      with_constant<max>(
          last - first, [&](auto r) { convolution_tile<T, r, N>(cells, i0 + first, outputs, o0, w, relu, y); });
    }
  }

  static int64_t scratch_size(int, const int*) { return 0; }

  static constexpr ConvolutionKernels<T> kernels{block_outputs, block_outputs, kConvolutionCells, convolve,
      scratch_size, kDepth<T>, pack_transposed<T>, Transposition<T>::copy, Transposition<T>::transpose};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
