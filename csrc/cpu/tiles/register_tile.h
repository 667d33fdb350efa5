// The tile that scan and convolution are made of: sums of products that stay in registers.
#pragma once
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// acc[R][N] += the values of every tap of cells i0 .. i0 + R times the packed weights [all channels][N][lanes].
template <class T, int R, int N> INLINE const T* multiply_taps(const Rows<T>& rows, int i0, const T* __restrict w, Vec<T> acc[R][N]) {
  constexpr int L = lanes<T>;
  for (int k = 0; k < rows.taps; ++k) {
    const T* const* tap = rows.tap + (int64_t)k * rows.cells + i0;
    const int64_t channels = rows.channels[k];
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = tap[m];
    for (int64_t j = 0; j < channels; ++j, w += N * L) {
      Vec<T> v[N];
      UNROLL for (int n = 0; n < N; ++n) v[n] = load(w + n * L);
      UNROLL for (int m = 0; m < R; ++m) {
        const T s = p[m][j];
        UNROLL for (int n = 0; n < N; ++n) acc[m][n] += v[n] * s;
      }
    }
  }
  return w;
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
