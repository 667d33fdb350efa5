#pragma once
#include "../../cell.h"
#include "../../cell5.h"
#include "pack_scan.h"
#include "register_tile.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// The largest number of cells in a tile of the forward pass. AVX-512 has registers for three gates x 8 cells.
template <int G> constexpr int kForwardCells = kGatesAtOnce<G> == 3 && PIXELRNN_VECTOR_BYTES == 64 ? 8 : kRows;

// The kernels prefetch the next line in portions of a few cache lines, because the cache misses in flight are limited.

// Returns the address of the gates i, f, g and o of hidden unit u of a cell. `unit` is cell * hidden + u. If the number
// of gates G is 5, each cell also stores `hidden` fifth gates, so the function skips the fifth gates of earlier cells.
template <int G, class T> INLINE T* gates_of(T* map, int64_t unit, int64_t cell, int hidden) {
  if constexpr (G == 5) map += cell * hidden;
  return map + unit * 4;
}

// Loads or stores the five gates of up to n hidden units of a cell, from unit u on. In memory, a cell has [hidden][4],
// then [hidden] for the fifth gates.
template <class T> INLINE FiveGates<Vec<T>> load_five_gates(
    const T* p, int64_t hidden, int64_t cell, int64_t u, int64_t n) {
  const T* gates = p + cell * 5 * hidden;
  const auto a = load_gates(gates + 4 * u, n);
  return {a.i, a.f, a.g, a.o, load(gates + 4 * hidden + u, n)};
}
template <class T>
INLINE void store_five_gates(T* p, int64_t hidden, int64_t cell, int64_t u, int64_t n, const FiveGates<Vec<T>>& a) {
  T* gates = p + cell * 5 * hidden;
  store_gates<T>(gates + 4 * u, n, {a.i, a.f, a.g, a.o});
  store(gates + 4 * hidden + u, a.up, n);
}
template <class T> INLINE Peepholes<Vec<T>> load_peepholes(const T* p, int64_t hidden, int64_t u, int64_t n) {
  return {load(p + u, n), load(p + hidden + u, n), load(p + 2 * hidden + u, n), load(p + 3 * hidden + u, n)};
}

// Computes c and the gates of cell i, for up to n units from u0 on, from the products z[G]. On return, h of the cell is
// z[1] * tanh(z[0]).
template <class T> INLINE void four_gate_cell(
    const Cells<T>& cells, int i, int hidden, int u0, int64_t n, Vec<T>* z, const ForwardMaps<T>& maps) {
  constexpr int L = lanes<T>;
  const int64_t unit = cells.cell[i] * hidden + u0, next = unit + cells.to_next * hidden;
  if (maps.x) prefetch<4 * L * sizeof(T)>(maps.x + next * 4);
  prefetch<4 * L * sizeof(Gate<T>)>(maps.gates + next * 4);
  prefetch<L * sizeof(Sum<T>)>(maps.c + next);
  prefetch<L * sizeof(T)>(maps.h + (cells.cell[i] + cells.to_next) * maps.h_stride + u0);
  Gates<Vec<T>> pre{z[0], z[1], z[2], z[3]};
  if (maps.x) {
    const auto x = load_gates(maps.x + unit * 4, n);
    pre = {pre.i + x.i, pre.f + x.f, pre.g + x.g, pre.o + x.o};
  }
  const auto a = activate<VectorMath<Sum<T>>>(pre);
  const Vec<T> c = next_c(a, load(cells.carry[i] + u0, n));
  store_gates(maps.gates + unit * 4, n, a);
  store(maps.c + unit, c, n);
  z[0] = c, z[1] = a.o;
}
template <class T> INLINE void five_gate_cell(
    const Cells<T>& cells, int i, int hidden, int u0, int64_t n, Vec<T>* z, const ForwardMaps<T>& maps) {
  constexpr int L = lanes<T>;
  const int64_t cell = cells.cell[i], next = cell + cells.to_next;
  prefetch<4 * L * sizeof(Gate<T>)>(maps.gates + next * 5 * hidden + 4 * u0);
  prefetch<L * sizeof(Gate<T>)>(maps.gates + next * 5 * hidden + 4 * hidden + u0);
  prefetch<L * sizeof(Sum<T>)>(maps.c + next * hidden + u0);
  prefetch<L * sizeof(T)>(maps.h + next * maps.h_stride + u0);
  Peepholes<Vec<T>> peepholes;
  if (maps.cell.peephole) peepholes = load_peepholes(maps.cell.peephole, hidden, u0, n);
  FiveGates<Vec<T>> pre{z[0], z[1], z[2], z[3], z[4]};
  if (maps.x) {
    const auto x = load_five_gates(maps.x, hidden, cell, u0, n);
    pre = {pre.i + x.i, pre.f + x.f, pre.g + x.g, pre.o + x.o, pre.up + x.up};
  }
  const Sum<T>* up = cells.carry_up[i];
  const auto out = cell5<VectorMath<Sum<T>>, Vec<T>, Sum<T>>(maps.cell.formula, maps.cell.scale,
      maps.cell.peephole ? &peepholes : nullptr, up == maps.border, pre, load(cells.carry[i] + u0, n),
      load(up + u0, n));
  store_five_gates(maps.gates, hidden, cell, u0, n, out.gates);
  store(maps.c + cell * hidden + u0, out.c, n);
  z[0] = out.inner, z[1] = out.outer;
}
template <class T, int G> INLINE void forward_cell(
    const Cells<T>& cells, int i, int hidden, int u0, int64_t n, Vec<T>* z, const ForwardMaps<T>& maps) {
  if constexpr (carries_up(G)) five_gate_cell(cells, i, hidden, u0, n, z, maps);
  else four_gate_cell(cells, i, hidden, u0, n, z, maps);
}
template <class T> INLINE void store_hidden_state(
    const Cells<T>& cells, int i, int u0, int64_t n, const Vec<T>* z, const ForwardMaps<T>& maps) {
  const Gates<Vec<T>> a{{}, {}, {}, z[1]};
  store(maps.h + cells.cell[i] * maps.h_stride + u0, hidden_state<VectorMath<Sum<T>>>(a, z[0]), n);
}

template <class T, int G, int R>
void forward_tile(const Cells<T>& cells, int i0, int hidden, int u0, const T* w, const ForwardMaps<T>& maps) {
  constexpr int L = lanes<T>, P = kGatesAtOnce<G>, rest = G % P;
  const int64_t n = hidden - u0 < L ? hidden - u0 : L;
  Vec<T> z[R][G];
  UNROLL for (int g0 = 0; g0 < G - rest; g0 += P) {
    Vec<T> acc[R][P] = {};  // acc stays in registers, while z is in memory
    w = multiply_taps<T, R, P>(cells, i0, w, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int g = 0; g < P; ++g) z[m][g0 + g] = acc[m][g];
  }
  if constexpr (rest > 0) {
    Vec<T> acc[R][rest] = {};
    multiply_taps<T, R, rest>(cells, i0, w, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int g = 0; g < rest; ++g) z[m][G - rest + g] = acc[m][g];
  }
  ROLL for (int m = 0; m < R; ++m) forward_cell<T, G>(cells, i0 + m, hidden, u0, n, z[m], maps);
  // A second loop lets the tanh(c) of several cells overlap. In a single loop, each would wait for c of its own cell.
  ROLL for (int m = 0; m < R; ++m) store_hidden_state(cells, i0 + m, u0, n, z[m], maps);
}

// Prefetches what backward_cell() reads and writes for the next cell of the chain.
template <class T, int G>
INLINE void prefetch_next_cell(const Cells<T>& cells, int i, int hidden, int u, const BackwardMaps<T>& maps) {
  constexpr int L = lanes<T>;
  const int64_t next = cells.cell[i] + cells.to_next, unit = next * hidden + u;
  prefetch<4 * L * sizeof(Gate<T>)>(gates_of<G>(maps.gates, unit, next, hidden));
  prefetch<L * sizeof(T)>(cells.dh[i] + cells.to_next * maps.dh_stride + u);
  prefetch<L * sizeof(Sum<T>)>(maps.c + unit);
  prefetch<4 * L * sizeof(T)>(gates_of<G>(maps.dx, unit, next, hidden));
}

// Computes the gradients of a vector of hidden units of cell i, from unit u on. The gradient of the cell's h is dh,
// from outside the scan, plus `product`, the transposed weights times dx of the cells that read this h.
template <class T, int G> INLINE void backward_cell(
    const Cells<T>& cells, int i, int hidden, int u, Vec<T> product, const BackwardMaps<T>& maps) {
  const int64_t n = hidden - u, cell = cells.cell[i], unit = cell * hidden + u;
  Sum<T>* chain_dc = maps.dc + cells.chain[i] * hidden + u;
  Vec<T> dc = load(chain_dc, n);
  const Vec<T> dh = load(cells.dh[i] + u, n) + product;
  if constexpr (carries_up(G)) {
    Peepholes<Vec<T>> peepholes;
    if (maps.cell.peephole) peepholes = load_peepholes(maps.cell.peephole, hidden, u, n);
    Vec<T> dc_up = load(cells.dc_below[i] + u, n);
    const auto dx = cell5_backward<VectorMath<Sum<T>>, Vec<T>, Sum<T>>(maps.cell.formula, maps.cell.scale,
        maps.cell.peephole ? &peepholes : nullptr, load_five_gates(maps.gates, hidden, cell, u, n),
        load(maps.c + unit, n), load(cells.carry[i] + u, n), load(cells.carry_up[i] + u, n), dh, dc, dc_up);
    store(chain_dc, dc, n);
    store(cells.dc_up[i] + u, dc_up, n);
    store_five_gates(maps.dx, hidden, cell, u, n, dx);
  } else {
    const auto dx = pixelrnn::cell_backward<VectorMath<Sum<T>>>(
        load_gates(maps.gates + unit * 4, n), load(maps.c + unit, n), load(cells.carry[i] + u, n), dh, dc);
    store(chain_dc, dc, n);
    store_gates(maps.dx + unit * 4, n, dx);
  }
}

// Computes R cells x N vectors of hidden units.
template <class T, int G, int R, int N>
void backward_tile(const Cells<T>& cells, int i0, int hidden, int u0, const T* w, const BackwardMaps<T>& maps) {
  constexpr int L = lanes<T>;
  auto prefetch_next = [&](int s) __attribute__((always_inline)) {
    prefetch_next_cell<T, G>(cells, i0 + s / N, hidden, u0 + s % N * L, maps);
  };
  Vec<T> acc[R][N] = {};
  // Prefetches operands of the next line during the matrix product, because the loop over the cells is too short to
  // hide the cache misses.
  if constexpr (N > 1) multiply_taps<T, R, N>(cells, i0, w, acc, R * N, prefetch_next);
  else multiply_taps<T, R, N>(cells, i0, w, acc);
  Vec<T> product[R][N];
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) product[m][v] = acc[m][v];
  ROLL for (int m = 0; m < R; ++m) ROLL for (int v = 0; v < N; ++v) {
    const int u = u0 + v * L;
    if (u >= hidden) break;
    if (N == 1) prefetch_next(m);
    backward_cell<T, G>(cells, i0 + m, hidden, u, product[m][v], maps);
  }
}

template <class T, int G> struct ScanTiles {
  static constexpr int L = lanes<T>;

  static int backward_vectors(int hidden) {
    const int vectors = (hidden + L - 1) / L;
    return k32Registers && vectors % 4 == 0 ? 4 : vectors % 2 == 0 ? 2 : 1;
  }
  static int block_units(Pass pass, int hidden) { return pass == Pass::kForward ? L : L * backward_vectors(hidden); }
  static int max_cells(Pass pass, int hidden) {
    if (pass == Pass::kForward) return kForwardCells<G>;
    const int v = backward_vectors(hidden);
    return v == 4 || (v == 2 && !k32Registers) ? kRows : 8;
  }

  static void pack(
      Pass pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1) {
    using Packing = ScanPacking<T, G>;
    pass == Pass::kForward ? Packing::forward(hidden, taps, channels, weight, packed, b0, b1)
                           : Packing::backward(backward_vectors(hidden), hidden, taps, weight, packed, b0, b1);
  }
  static void forward(const Cells<T>& cells, int first, int count, int block, int hidden, const T* packed,
      const ForwardMaps<T>& maps, T*) {
    const T* w = packed + block * packed_depth<T>(cells.taps, cells.channels) * G * L;
    with_constant<kForwardCells<G>>(
        count, [&](auto r) { forward_tile<T, G, r>(cells, first, hidden, block * L, w, maps); });
  }

  template <int N> static void backward_block(const Cells<T>& cells, int first, int count, int block, int hidden,
      const T* packed, const BackwardMaps<T>& maps) {
    const T* w = packed + block * cells.taps * padded_channels<T>(G * hidden) * N * L;
    constexpr int max_cells = 4 * kRows / N < 8 ? 4 * kRows / N : 8;
    with_constant<max_cells>(
        count, [&](auto r) { backward_tile<T, G, r, N>(cells, first, hidden, block * N * L, w, maps); });
  }
  static void backward(const Cells<T>& cells, int first, int count, int block, int hidden, const T* packed,
      const BackwardMaps<T>& maps, T*) {
    switch (backward_vectors(hidden)) {
      case 1: return backward_block<1>(cells, first, count, block, hidden, packed, maps);
      case 2: return backward_block<2>(cells, first, count, block, hidden, packed, maps);
#if PIXELRNN_VECTOR_REGISTERS == 32
      case 4: return backward_block<4>(cells, first, count, block, hidden, packed, maps);
#endif
    }
  }

  static int64_t scratch_size(int, const int*) { return 0; }

  // 24 cells are enough to use the tiles well, and few enough that the cells' data stays in the L1 cache.
  static constexpr ScanKernels<T> kernels{block_units, max_cells, 24, pack, forward, backward, scratch_size, kDepth<T>};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
