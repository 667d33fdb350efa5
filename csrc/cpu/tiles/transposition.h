#pragma once
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Returns v with zero in all lanes where y <= 0. A lane where y is NaN keeps its value of v, as in torch.
template <class T> INLINE Vec<T> where_positive(Vec<T> y, Vec<T> v) { return y <= Sum<T>(0) ? Vec<T>{} : v; }

template <class T> void transpose_block(const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int L = lanes<T>;
  using S = Shuffle<Sum<T>>;
  Vec<T> v[L], mixed[L];
  UNROLL for (int k = 0; k < L; ++k) v[k] = load(from + k * from_stride);
  if (y) UNROLL for (int k = 0; k < L; ++k) v[k] = where_positive<T>(load(y + k * from_stride), v[k]);
  // The loop transposes L vectors of L lanes in log2(L) steps. Each step interleaves vector k with vector k + L/2.
  UNROLL for (int step = 1; step < L; step *= 2) {
    UNROLL for (int k = 0; k < L / 2; ++k) {
      mixed[2 * k] = S::low(v[k], v[k + L / 2]);
      mixed[2 * k + 1] = S::high(v[k], v[k + L / 2]);
    }
    UNROLL for (int k = 0; k < L; ++k) v[k] = mixed[k];
  }
  UNROLL for (int k = 0; k < L; ++k) store(to + k * to_stride, v[k]);
}

template <class T> struct Transposition {
  static constexpr int L = lanes<T>;

  static void copy(int64_t n, const T* from, const T* y, T* to) {
    for (int64_t i = 0; i < n; i += L) {
      const Vec<T> v = load(from + i, n - i);
      store(to + i, y ? where_positive<T>(load(y + i, n - i), v) : v, n - i);
    }
  }
  static void transpose(
      int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride) {
    if (rows < L || columns < L) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t index = i * from_stride + j;
          to[j * to_stride + i] = y && y[index] <= 0 ? T(0) : from[index];
        }
      return;
    }
    // The matrix is transposed in squares of L rows and L columns. If its rows or columns are not a multiple of L, the
    // last square ends at the end of the matrix and overlaps the previous square.
    for (int64_t i = 0; i < rows; i += L)
      for (int64_t j = 0; j < columns; j += L) {
        const int64_t i0 = i < rows - L ? i : rows - L, j0 = j < columns - L ? j : columns - L;
        const int64_t index = i0 * from_stride + j0;
        transpose_block(from + index, y ? y + index : y, from_stride, to + j0 * to_stride + i0, to_stride);
      }
  }
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
