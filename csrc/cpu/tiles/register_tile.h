#pragma once
#include <type_traits>

#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Rows of a tile of four vectors, or of two with 16 registers. NEON has five: 20 accumulators, 4 weights and the values
// of 5 rows take 29 registers. A sixth row would spill two accumulators.
constexpr int kRows = PIXELRNN_VECTOR_REGISTERS == 32 && PIXELRNN_VECTOR_BYTES == 16 ? 5 : 6;

// Calls f with the count, 1 to `most`, as an integral constant.
template <int most, class F> INLINE void with_constant(int64_t count, const F& f) {
  switch (count) {
#define CASE(R) \
  case R:       \
    if constexpr (R <= most) return f(std::integral_constant<int, R>{});
    CASE(1)
    CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#undef CASE
  }
}

// Adds to acc[R][N] values j0 <= j < j1 behind R pointers times N vectors of weights. `spacing` values lie between
// vectors, `step` between channels. Returns the end of these weights.
template <class T, int R, int N> INLINE const T* multiply(
    const T* const* p, int64_t j0, int64_t j1, const T* __restrict w, int64_t step, int64_t spacing, Vec<T> acc[R][N]) {
  for (int64_t j = j0; j < j1; ++j, w += step) {
    Vec<T> v[N];
    UNROLL for (int n = 0; n < N; ++n) v[n] = load(w + n * spacing);
    UNROLL for (int m = 0; m < R; ++m) {
      const Vec<T> s = broadcast(p[m][j]);
      UNROLL for (int n = 0; n < N; ++n) acc[m][n] = multiply_add(v[n], s, acc[m][n]);
    }
  }
  return w;
}

// Adds to acc[R][N] all taps' values of R cells from i0 on times the packed weights [all channels][N][lanes]. It calls
// ahead(0) to ahead(portions - 1) meanwhile, spread over the channels.
template <class T, int R, int N, class Ahead> INLINE const T* multiply_taps(
    const Rows<T>& rows, int i0, const T* __restrict w, Vec<T> acc[R][N], int portions, const Ahead& ahead) {
  constexpr int L = lanes<T>;
  int all = 0, s = 0;
  for (int k = 0; k < rows.taps; ++k) all += rows.channels[k];
  const int stretch = all < portions ? 1 : all / portions;
  for (int k = 0; k < rows.taps; ++k) {
    const T* const* tap = rows.tap + (int64_t)k * rows.cells + i0;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = tap[m];
    const int channels = rows.channels[k];
    for (int j = 0; j < channels; j += stretch) {
      if (s < portions) ahead(s++);
      w = multiply<T, R, N>(p, j, channels - j < stretch ? channels : j + stretch, w, N * L, L, acc);
    }
  }
  return w;
}
template <class T, int R, int N> INLINE const T* multiply_taps(
    const Rows<T>& rows, int i0, const T* __restrict w, Vec<T> acc[R][N]) {
  constexpr int L = lanes<T>;
  for (int k = 0; k < rows.taps; ++k) {
    const T* const* tap = rows.tap + (int64_t)k * rows.cells + i0;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = tap[m];
    w = multiply<T, R, N>(p, 0, rows.channels[k], w, N * L, L, acc);
  }
  return w;
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
