// Scans whose products AMX computes. The cells are those of scan.h.
#pragma once
#include "pack_scan.h"
#include "scan.h"
#include "tile_registers.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

template <int G> struct AmxScan {
  using T = Bf16;
  static constexpr int L = kTileRows, kMaxPanels = 4;
  using Packing = ScanPacking<T, G, G, kTileDepth>;

  // A block consists of parts of 16 units, whose weights follow each other.
  static int block_units(Pass, int hidden) { return hidden <= L ? L : hidden <= 2 * L ? 2 * L : 4 * L; }
  static int parts_of(int block, int block_units, int hidden) {
    const int left = (hidden - block * block_units + L - 1) / L;
    return left < block_units / L ? left : block_units / L;
  }
  static int max_cells(Pass, int) { return kMaxPanels * kTwoTiles; }

  // The forward packs [part][pair of channels][gate][unit][2], the backward [part][pair of columns][unit][2].
  static void pack(
      Pass pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1) {
    const int parts = block_units(pass, hidden) / L, all = (hidden + L - 1) / L;
    const int p0 = b0 * parts, p1 = b1 * parts < all ? b1 * parts : all;
    pass == Pass::kForward ? Packing::forward(hidden, taps, channels, weight, packed, p0, p1)
                           : Packing::backward(1, hidden, taps, weight, packed, p0, p1);
  }

  // Computes the products of all gates for a part's units, and writes them to z [cells][G].
  template <class Between>
  static INLINE void multiply_gates(const Panels& panels, int i, const T* w, Vec<T>* z, const Between& between) {
    alignas(64) float first_sums[G * L];
    panels.write_first_sums(w, G * L, first_sums);
    const Panel panel = panels[i];
    const SumLayout layout{G * L, L, kTileRows * G * L};
    for (int g = 0; g < G; g += 2)
      with_tiles(panel.count, G - g, [&](auto m, auto n) __attribute__((always_inline)) {
        begin_sums<m, n>(first_sums + g * L);
        add_tiles<m, n>(panel.values, {w + g * 2 * L, G * 2 * L, 2 * L}, panels.steps(), between);
        store_sums<m, n>(reinterpret_cast<float*>(z + g), layout);
      });
    written_to_memory();
  }

  static void forward(const Cells<T>& cells, int first, int count, int block, int hidden, const T* packed,
      const ForwardMaps<T>& maps, T* scratch) {
    if (count == 0) return;
    const int units = block_units(Pass::kForward, hidden), parts = parts_of(block, units, hidden);
    const Panels panels(cells, first, count, scratch);
    const int64_t depth = panels.depth();
    const T* w = packed + (int64_t)block * units * G * depth;
    const int steps = (G + 1) / 2 * panels.steps(), all = parts * panels.count;
    Vec<T> z[2][kTwoTiles][G];
    TileRegisters registers;
    // While AMX multiplies for a part of the units and a panel of the cells, the vector units compute the cells of the
    // panel before.
    for (int k = 0; k <= all; ++k) {
      const int before = k - 1, u = block * units + before / panels.count * L;
      const Panel last = panels[before < 0 ? 0 : before % panels.count];
      const int at_once = (last.count + steps - 1) / steps;
      int m = k > 0 ? 0 : last.count;
      const auto compute_cells = [&](int n) __attribute__((always_inline)) {
        const int end = m + n < last.count ? m + n : last.count;
        for (; m < end; ++m) {
          Vec<T>* cell = z[before % 2][m];
          forward_cell<T, G>(cells, last.first + m, hidden, u, hidden - u, cell, maps);
          store_hidden_state(cells, last.first + m, u, hidden - u, cell, maps);
        }
      };
      if (k < all) {
        registers.configure(panels[k % panels.count].count);
        multiply_gates(panels, k % panels.count, w + k / panels.count * L * G * depth, z[k % 2][0],
            [&] { compute_cells(at_once); });
      }
      compute_cells(last.count);
    }
  }

  // The number of columns after which the sums go to memory, so that this part of the panel stays in the L1 cache.
  static constexpr int64_t kColumns = 512;

  static void backward(const Cells<T>& cells, int first, int count, int block, int hidden, const T* packed,
      const BackwardMaps<T>& maps, T* scratch) {
    if (count == 0) return;
    const int units = block_units(Pass::kBackward, hidden), parts = parts_of(block, units, hidden);
    const Panels panels(cells, first, count, scratch);
    const int64_t depth = panels.depth();
    const T* w = packed + (int64_t)block * units * depth;
    Vec<T> z[kMaxPanels * kTwoTiles][4];
    const SumLayout layout{4 * L, L, kTileRows * 4 * L};
    TileRegisters registers;
    // While AMX multiplies for two parts of a panel's cells, the vector units compute the cells before.
    // Cell m of part p of the panel `last` has the number p * last.count + m. Cells below `next` are computed, and
    // those below `ready` have their products.
    int next = 0, ready = 0;
    Panel last = panels[0];
    const auto compute_cells = [&](int n) __attribute__((always_inline)) {
      const int stop = next + n < ready ? next + n : ready;
      for (; next < stop; ++next) {
        const int m = next % last.count, p = next / last.count, u = block * units + p * L;
        prefetch_next_cell<T, G>(cells, last.first + m, hidden, u, maps);
        backward_cell<T, G>(cells, last.first + m, hidden, u, z[last.first - first + m][p], maps);
      }
    };
    for (int g = 0; g < panels.count; ++g) {
      const Panel panel = panels[g];
      registers.configure(panel.count);
      for (int64_t k0 = 0; k0 < depth; k0 += kColumns) {
        const int64_t k1 = k0 + kColumns < depth ? k0 + kColumns : depth, steps = (k1 - k0) / kTileDepth;
        const int at_once = int((2 * kTwoTiles + steps - 1) / steps);
        for (int p = 0; p < parts; p += 2) {
          with_tiles(panel.count, parts - p, [&](auto m, auto n) __attribute__((always_inline)) {
            auto* sum = reinterpret_cast<float*>(z[panel.first - first] + p);
            k0 ? load_sums<m, n>(sum, layout) : clear_sums<m, n>();
            const TileValues values{panel.values.data + k0, panel.values.row};
            add_tiles<m, n>(
                values, {w + (p * depth + k0) * L, 2 * L, depth * L}, steps, [&] { compute_cells(at_once); });
            store_sums<m, n>(sum, layout);
          });
          written_to_memory();
          if (k1 < depth) continue;
          if (p == 0) {  // the cells of the panel before are due now
            compute_cells(ready);
            last = panel, next = 0;
          }
          ready = (p + 2 < parts ? p + 2 : parts) * panel.count;
        }
      }
    }
    compute_cells(ready);
  }

  // While AMX multiplies for a panel, the vector units compute the cells of another panel, so a line should have
  // several.
  static constexpr ScanKernels<T> kernels{
      block_units, max_cells, 112, pack, forward, backward, Panels::scratch_size<kMaxPanels>, kTileDepth};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
