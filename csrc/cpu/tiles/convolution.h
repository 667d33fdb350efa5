#pragma once
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// A tile has more cells if a vector holds many outputs, and more vectors if it holds few.
#if PIXELRNN_VECTOR_REGISTERS == 32 && PIXELRNN_VECTOR_BYTES == 16
constexpr int kConvolutionVectors = 4, kConvolutionCells = kRows;
#else
constexpr int kConvolutionVectors = 2, kConvolutionCells = PIXELRNN_VECTOR_REGISTERS == 32 ? 14 : kRows;
#endif

// A tile of R cells x N vectors of outputs.
template <class T, int R, int N>
void convolution_tile(const Rows<T>& rows, int i0, int outputs, int o0, const T* w, bool relu, T* y) {
  constexpr int L = lanes<T>;
  Vec<T> acc[R][N] = {};
  multiply_taps<T, R, N>(rows, i0, w, acc);
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) {
    const int o = o0 + v * L;
    store(y + rows.cell[i0 + m] * outputs + o, relu ? max(Vec<T>{}, acc[m][v]) : acc[m][v], outputs - o);
  }
}

template <class T> struct ConvolutionTiles {
  static constexpr int L = lanes<T>;

  static int block_outputs(int outputs, int o0) {
    const int left = outputs - o0;
    return kConvolutionVectors == 4 && left > 3 * L ? 4 * L : left > L ? 2 * L : L;
  }
  static void convolve(
      const Rows<T>& rows, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y) {
    const int block = block_outputs(outputs, o0);
    if (kConvolutionVectors == 4 && block == 4 * L)
      return convolve_block<kConvolutionVectors>(rows, first, count, outputs, o0, packed, relu, y);
    block == L ? convolve_block<1>(rows, first, count, outputs, o0, packed, relu, y)
               : convolve_block<2>(rows, first, count, outputs, o0, packed, relu, y);
  }
  template <int N>
  static void convolve_block(const Rows<T>& rows, int i0, int count, int outputs, int o0, const T* w, bool relu, T* y) {
    with_constant<kConvolutionCells>(
        count, [&](auto r) { convolution_tile<T, r, N>(rows, i0, outputs, o0, w, relu, y); });
  }

  static constexpr ConvolutionKernels<T> kernels{
      block_outputs, kConvolutionCells, convolve, Transposition<T>::copy, Transposition<T>::transpose};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
