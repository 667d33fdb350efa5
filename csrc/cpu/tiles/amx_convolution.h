// Masked convolutions, and input gradients of scans, whose products AMX computes.
#pragma once
#include "convolution.h"
#include "tile_registers.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

struct AmxConvolution {
  using T = Bf16;
  static constexpr int L = kTileRows, kCallOutputs = 256;

  static int block_outputs(int, int) { return L; }
  static int call_outputs(int outputs, int o0) { return outputs - o0 < kCallOutputs ? outputs - o0 : kCallOutputs; }

  static void convolve(
      const Cells<T>& cells, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y, T* scratch) {
    if (count == 0) return;
    const int end = o0 + call_outputs(outputs, o0);
    const Panels panels(cells, first, count, scratch);
    const int64_t depth = panels.depth();
    Vec<T> z[kTwoTiles][2];
    alignas(64) float first_sums[2 * L] = {};
    TileRegisters registers;
    registers.configure(count);
    for (int o = o0; o < end; o += 2 * L, packed += 2 * L * depth) {
      panels.write_first_sums(packed, L, first_sums);
      if (o + L < end) panels.write_first_sums(packed + L * depth, L, first_sums + L);
      with_tiles(count, (end - o + L - 1) / L, [&](auto m, auto n) __attribute__((always_inline)) {
        begin_sums<m, n>(first_sums);
        add_tiles<m, n>(panels[0].values, {packed, 2 * L, L * depth}, panels.steps());
        store_sums<m, n>(reinterpret_cast<float*>(z), {2 * L, L, kTileRows * 2 * L});
      });
      written_to_memory();
      for (int m = 0; m < count; ++m)
        for (int v = 0; v < 2 && o + v * L < end; ++v)
          store(y + cells.cell[first + m] * outputs + o + v * L, relu ? max(Vec<T>{}, z[m][v]) : z[m][v],
              end - o - v * L);
    }
  }

  static constexpr ConvolutionKernels<T> kernels{block_outputs, call_outputs, kTwoTiles, convolve,
      Panels::scratch_size<1>, kTileDepth, pack_transposed<T>, Transposition<T>::copy, Transposition<T>::transpose};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
