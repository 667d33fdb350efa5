// Weight gradients whose products AMX computes: the values that cells read, transposed, times the cells' dy.
#pragma once
#include "tile_registers.h"
#include "transposition.h"
#include "weight_gradient.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

struct AmxWeightGradient {
  using T = Bf16;
  using Base = WeightGradientTiles<T>;
  static constexpr int L = kTileRows, kBlocks = 4, kTileCells = Base::kTileCells;
  static_assert(kTileCells % kTileDepth == 0 && Base::L == L);

  // Writes kBlocks x 16 columns of the dy of n cells as [block][pair of cells][column][2].
  static INLINE void zip_dy(const Cells<T>& cells, int i0, int n, int outputs, int c0, int blocks, const T* dy, T* to) {
    const int64_t size = padded(n, kTileDepth) * L;
    for (int k = 0; k < n; k += 2) {
      const T* a = dy + cells.cell[i0 + k] * outputs + c0;
      const T* b = k + 1 < n ? dy + cells.cell[i0 + k + 1] * outputs + c0 : nullptr;
      for (int v = 0; v < blocks; ++v)
        store_pairs(to + v * size + k * L, zip(a + v * L, b ? b + v * L : nullptr, outputs - c0 - v * L));
    }
    for (int v = 0; v < blocks; ++v)
      for (int64_t k = padded(n, 2); k < padded(n, kTileDepth); k += 2) store_pairs(to + v * size + k * L, Pairs{});
  }

  // Adds the gradients of up to 32 channels, from `values` on, and `blocks` x 16 columns.
  static INLINE void add(const T* values, const T* dy, int n, int channels, int blocks, float* sum, int64_t columns) {
    const int64_t depth = padded(n, kTileDepth);
    with_tiles(channels, blocks, [&](auto m, auto v) __attribute__((always_inline)) {
      const SumLayout layout{columns, L, kTileRows * columns};
      load_sums<m, v>(sum, layout);
      add_tiles<m, v>({values, depth}, {dy, 2 * L, L * depth}, depth / kTileDepth);
      store_sums<m, v>(sum, layout);
    });
  }

  static void accumulate(const Cells<T>& cells, int outputs, int begin, int end, const T* dy, float* sum, T* scratch) {
    const int64_t columns = Base::columns(outputs);
    TileRegisters registers;
    T *zipped_dy = scratch, *zipped = scratch + kTileCells * kBlocks * L;
    for (int i0 = 0; i0 < cells.count; i0 += kTileCells) {
      const int n = cells.count - i0 < kTileCells ? cells.count - i0 : kTileCells;
      const int64_t depth = padded(n, kTileDepth);
      Base::zip_cells(cells, i0, n, zipped);
      for (int c0 = begin; c0 < end; c0 += kBlocks * L) {
        const int blocks = (end - c0) / L < kBlocks ? (end - c0) / L : kBlocks;
        zip_dy(cells, i0, n, outputs, c0, blocks, dy, zipped_dy);
        written_to_memory();
        const T* values = zipped;
        float* row = sum + c0;
        for (int k = 0; k < cells.taps; ++k) {
          const int channels = cells.channels[k];
          for (int j = 0; j < channels; j += kTwoTiles) {
            const int rows = channels - j < kTwoTiles ? channels - j : kTwoTiles;
            registers.configure(rows);
            for (int v = 0; v < blocks; v += 2)
              add(values + j * depth, zipped_dy + v * depth * L, n, rows, blocks - v, row + j * columns + v * L,
                  columns);
          }
          values += Base::padded(channels) * depth, row += channels * columns;
        }
      }
    }
  }

  static constexpr WeightGradientKernels<T> kernels{
      Base::columns, kBlocks * L, Base::scratch_size, Base::reduce, accumulate};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
