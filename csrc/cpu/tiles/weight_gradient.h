#pragma once
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

constexpr int kWeightRows = k32Registers ? 6 : 3;

// Adds the weight gradients of `rows` rows to `sum`, for R channels x N vectors of outputs. A row is a cell, or a pair
// of cells for a 16-bit format. value(k, m) points to the values of channel m that the cells of row k read. dy is
// [rows][N][lanes][cells of a row].
template <class T, int R, int N, class Value>
void weight_tile(int rows, const Value& value, const T* __restrict dy, Sum<T>* sum, int64_t columns) {
  constexpr int L = lanes<T>, D = kDepth<T>;
  Vec<T> acc[R][N];
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] = load(sum + m * columns + v * L);
  for (int k = 0; k < rows; ++k, dy += D * N * L)
    multiply_channels<T, R, N>([&](int m) __attribute__((always_inline)) { return value(k, m); }, dy, D * L, acc);
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) store(sum + m * columns + v * L, acc[m][v]);
}

template <class T> struct WeightGradientTiles {
  static constexpr int L = lanes<T>, D = kDepth<T>;
  // The number of cells that one tile sums over. In float32, their dy fills the L1 cache. In a 16-bit format, dy comes
  // from the L2 cache, which costs less than to read and write the sums more often.
  static constexpr int kTileCells = D == 2 ? 512 : 128;

  // Returns the number of outputs, rounded up to whole vectors. accumulate() takes four vectors at a time, so a rest of
  // three is padded to four.
  static int columns(int outputs) {
    const int vectors = (outputs + L - 1) / L;
    return (vectors + (vectors % 4 == 3)) * L;
  }
  static int64_t padded(int channels) { return (channels + L - 1) / L * L; }
  // Returns the number of values from one channel of n transposed cells to the next.
  static int64_t zipped_stride(int n) { return (n + 2 * L - 1) / (2 * L) * 2 * L; }
  // Returns the room that accumulate() needs for dy and, in a 16-bit format, for the values that zip_cells() writes.
  static int64_t scratch_size(int taps, const int* channels) {
    int64_t size = kTileCells * 4 * L;
    for (int k = 0; D == 2 && k < taps; ++k) size += kTileCells * padded(channels[k]);
    return size;
  }
  static void accumulate(const Cells<T>& cells, int outputs, int begin, int end, const T* dy, Sum<T>* sum, T* scratch) {
    for (int i0 = 0; i0 < cells.count; i0 += kTileCells) {
      const int n = cells.count - i0 < kTileCells ? cells.count - i0 : kTileCells;
      if constexpr (D == 2) zip_cells(cells, i0, n, scratch + kTileCells * 4 * L);
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
      if constexpr (D == 2) {
        const T* second = ++k < n ? dy_of(k) : nullptr;
        if (second) prefetch<N * L * sizeof(T)>(second + N * L);
        UNROLL for (int v = 0; v < N; ++v) {
          const Pairs pairs = zip(from + v * L, second ? second + v * L : nullptr, outputs - c0 - v * L);
          store_pairs(scratch + (k / 2 * N + v) * 2 * L, pairs);
        }
      } else
        UNROLL for (int v = 0; v < N; ++v) store(scratch + (k * N + v) * L, load(from + v * L, outputs - c0 - v * L));
    }
    const int rows = (n + D - 1) / D;
    const T* zipped = scratch + kTileCells * 4 * L;
    const int64_t stride = zipped_stride(n);
    Sum<T>* s = sum + c0;
    for (int k = 0; k < cells.taps; ++k) {
      const T* const* tap = cells.tap + (int64_t)k * cells.count + i0;
      const int channels = cells.channels[k], tiles = (channels + max - 1) / max;
      for (int t = 0; t < tiles; ++t) {
        const int j0 = (int64_t)channels * t / tiles, j1 = (int64_t)channels * (t + 1) / tiles;
        const auto value = [&](int row, int m) __attribute__((always_inline)) {
          return D == 2 ? zipped + (j0 + m) * stride + 2 * row : tap[row] + j0 + m;
        };
        with_constant<max>(
            j1 - j0, [&](auto r) { weight_tile<T, r, N>(rows, value, scratch, s + j0 * all_columns, all_columns); });
      }
      s += channels * all_columns, zipped += stride * padded(channels);
    }
  }
  // Writes the values that n cells read to `to`, as [tap][channel][cell]. A tap has padded() channels, and a channel
  // has zipped_stride() values, of which the last may be zeros. Cells are transposed only once, because all columns of
  // the gradient read them.
  static void zip_cells(const Cells<T>& cells, int i0, int n, T* to) {
    alignas(64) float block[L * L];
    const int64_t stride = zipped_stride(n);
    for (int k = 0; k < cells.taps; ++k) {
      const T* const* tap = cells.tap + (int64_t)k * cells.count + i0;
      const int channels = cells.channels[k];
      for (int j = 0; j < channels; j += L, to += stride * L)
        for (int i = 0; i < n; i += 2 * L) {
          for (int l = 0; l < L; ++l) {
            const T* const* pair = tap + i + 2 * l;
            const int left = n - i - 2 * l;
            store_pairs(reinterpret_cast<T*>(block + l * L),
                left > 0 ? zip(pair[0] + j, left > 1 ? pair[1] + j : nullptr, channels - j) : Pairs{});
          }
          transpose_block<float>(block, nullptr, L, reinterpret_cast<float*>(to + i), stride / 2);
        }
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

  static constexpr WeightGradientKernels<T> kernels{columns, 4 * L, scratch_size, reduce, accumulate};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
