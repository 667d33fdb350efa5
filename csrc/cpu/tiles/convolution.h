#pragma once
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Largest tile of a convolution, in vectors of outputs and in output pixels.
constexpr int kConvolutionVectors = kNeon ? 4 : 2, kConvolutionCells = k32Registers && !kNeon ? 14 : kRows;

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

  static int block_outputs(int outputs, int o0) {
    const int left = outputs - o0;
    return kNeon && left > 3 * L ? 4 * L : left > L ? 2 * L : L;
  }
  static void convolve(
      const Cells<T>& cells, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y) {
    const int block = block_outputs(outputs, o0);
    if (kNeon && block == 4 * L)
      return convolve_block<kConvolutionVectors>(cells, first, count, outputs, o0, packed, relu, y);
    block == L ? convolve_block<1>(cells, first, count, outputs, o0, packed, relu, y)
               : convolve_block<2>(cells, first, count, outputs, o0, packed, relu, y);
  }
  template <int N>
  static void convolve_block(
      const Cells<T>& cells, int i0, int count, int outputs, int o0, const T* w, bool relu, T* y) {
    with_constant<kConvolutionCells>(
        count, [&](auto r) { convolution_tile<T, r, N>(cells, i0, outputs, o0, w, relu, y); });
  }

  static constexpr ConvolutionKernels<T> kernels{
      block_outputs, kConvolutionCells, convolve, Transposition<T>::copy, Transposition<T>::transpose};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
