#pragma once
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

constexpr int kWeightRows = k32Registers ? 6 : 3;

// Adds the weight gradients of n cells to `sum`, for R channels x N vectors of outputs. b is dy, as [cell][N][lanes].
// For a 16-bit format, b is [pair of cells][N][lanes][2].
template <class T, int R, int N>
void weight_tile(int n, const T* const* tap, int channel, const T* __restrict b, Sum<T>* sum, int64_t columns) {
  constexpr int L = lanes<T>, D = kDepth<T>;
  Vec<T> acc[R][N];
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] = load(sum + m * columns + v * L);
  for (int k = 0; k < n; k += D, b += D * N * L) {
    const T* p = tap[k] + channel;
    if constexpr (D == 2) {
      alignas(64) T values[2 * L * ((R + L - 1) / L)];
      const T* second = k + 1 < n ? tap[k + 1] + channel : nullptr;
      UNROLL for (int m = 0; m < R; m += L)
          store_pairs(values + 2 * m, zip(p + m, second ? second + m : nullptr, R - m));
      Pairs w[N];
      UNROLL for (int v = 0; v < N; ++v) w[v] = load_pairs(b + v * 2 * L);
      UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] =
          add_products(acc[m][v], w[v], broadcast_pair<2>(values + 2 * m));
    } else {
      Vec<T> w[N];
      UNROLL for (int v = 0; v < N; ++v) w[v] = load(b + v * L);
      UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] =
          multiply_add(w[v], broadcast(p[m]), acc[m][v]);
    }
  }
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) store(sum + m * columns + v * L, acc[m][v]);
}

template <class T> struct WeightGradientTiles {
  static constexpr int L = lanes<T>;
  static constexpr int kL1Cells = 128;  // number of cells whose dy stays in the L1 cache

  // Returns the number of outputs, rounded up to whole vectors. accumulate() takes four vectors at a time, so a rest of
  // three is padded to four.
  static int columns(int outputs) {
    const int vectors = (outputs + L - 1) / L;
    return (vectors + (vectors % 4 == 3)) * L;
  }
  static void accumulate(const Cells<T>& cells, int outputs, int begin, int end, const T* dy, Sum<T>* sum, T* scratch) {
    for (int i0 = 0; i0 < cells.count; i0 += kL1Cells) {
      const int n = cells.count - i0 < kL1Cells ? cells.count - i0 : kL1Cells;
      for (int c0 = begin; c0 < end;) {
        const int rest = (end - c0) / L;
        if (rest >= 4) weight_columns<4>(cells, i0, n, outputs, c0, dy, sum, scratch), c0 += 4 * L;
        else if (rest >= 2) weight_columns<2>(cells, i0, n, outputs, c0, dy, sum, scratch), c0 += 2 * L;
        else weight_columns<1>(cells, i0, n, outputs, c0, dy, sum, scratch), c0 += L;
      }
    }
  }
  template <int N>
  static void weight_columns(
      const Cells<T>& cells, int i0, int n, int outputs, int c0, const T* dy, Sum<T>* sum, T* scratch) {
    constexpr int max = N == 4 ? kWeightRows : 2 * kWeightRows;
    const int64_t all_columns = columns(outputs);
    const auto dy_of = [&](int k) { return dy + cells.cell[i0 + k] * outputs + c0; };
    for (int k = 0; k < n; ++k) {
      const T* from = dy_of(k);
      prefetch<N * L * sizeof(T)>(from + N * L);
      if constexpr (kDepth<T> == 2) {
        const T* second = ++k < n ? dy_of(k) : nullptr;
        if (second) prefetch<N * L * sizeof(T)>(second + N * L);
        UNROLL for (int v = 0; v < N; ++v) {
          const Pairs pairs = zip(from + v * L, second ? second + v * L : nullptr, outputs - c0 - v * L);
          store_pairs(scratch + (k / 2 * N + v) * 2 * L, pairs);
        }
      } else
        UNROLL for (int v = 0; v < N; ++v) store(scratch + (k * N + v) * L, load(from + v * L, outputs - c0 - v * L));
    }
    Sum<T>* s = sum + c0;
    for (int k = 0; k < cells.taps; ++k) {
      const T* const* tap = cells.tap + (int64_t)k * cells.count + i0;
      const int channels = cells.channels[k], tiles = (channels + max - 1) / max;
      for (int t = 0; t < tiles; ++t) {
        const int j0 = (int64_t)channels * t / tiles, j1 = (int64_t)channels * (t + 1) / tiles;
        with_constant<max>(
            j1 - j0, [&](auto r) { weight_tile<T, r, N>(n, tap, j0, scratch, s + j0 * all_columns, all_columns); });
      }
      s += channels * all_columns;
    }
  }
  static void reduce(int sums, int64_t sum_stride, const Sum<T>* sum, int64_t channel_stride, int columns, int channels,
      T* const* to, int64_t to_stride) {
    alignas(64) Sum<T> block[L * L] = {}, transposed[L * L];
    for (int i0 = 0; i0 < columns; i0 += L)
      for (int j0 = 0; j0 < channels; j0 += L) {
        const int rows = channels - j0 < L ? channels - j0 : L;
        for (int j = 0; j < rows; ++j) {
          const Sum<T>* from = sum + (j0 + j) * channel_stride + i0;
          Vec<T> total = load(from, columns - i0);
          for (int q = 1; q < sums; ++q) total += load(from + q * sum_stride, columns - i0);
          store(block + j * L, total);
        }
        transpose_block<Sum<T>>(block, nullptr, L, transposed, L);
        for (int i = 0; i < L && i0 + i < columns; ++i) {
          T* out = to[i0 + i] + j0 * to_stride;
          if (to_stride == 1) store(out, load(transposed + i * L), rows);
          else
            for (int j = 0; j < rows; ++j) out[j * to_stride] = T(transposed[i * L + j]);
        }
      }
  }

  static constexpr WeightGradientKernels<T> kernels{columns, 4 * L, kL1Cells * 4 * L, reduce, accumulate};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
