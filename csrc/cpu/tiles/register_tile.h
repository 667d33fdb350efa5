#pragma once
#include <type_traits>

#include "bf16.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

constexpr bool k32Registers = PIXELRNN_VECTOR_REGISTERS == 32, kNeon = k32Registers && PIXELRNN_VECTOR_BYTES == 16;
// Rows (cells or images) of a tile in registers. On NEON, 5 rows of four vectors take 29 of the 32 registers: 20
// accumulators, 4 weights and 5 values.
constexpr int kRows = kNeon ? 5 : 6;

// Calls f with `count`, from 1 to max, as a compile-time constant.
template <int max, class F> INLINE void with_constant(int64_t count, const F& f) {
  switch (count) {
#define CASE(R) \
  case R:       \
    if constexpr (R <= max) return f(std::integral_constant<int, R>{});
    CASE(1)
    CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#undef CASE
  }
}

// Adds the products of R rows of values and N vectors of weights to acc[R][N]. values(m) points to the values of row m,
// which has `count` channels here. count is kDepth<T>, or less if a tap has no more channels.
template <class T, int R, int N, int count = kDepth<T>, class Values>
INLINE void multiply_channels(const Values& values, const T* __restrict w, int64_t spacing, Vec<T> acc[R][N]) {
  if constexpr (kDepth<T> == 2) {
    Pairs v[N];
    UNROLL for (int n = 0; n < N; ++n) v[n] = load_pairs(w + n * spacing);
    UNROLL for (int m = 0; m < R; ++m) {
      const Pairs s = broadcast_pair<count>(values(m));
      UNROLL for (int n = 0; n < N; ++n) acc[m][n] = add_products(acc[m][n], v[n], s);
    }
  } else {
    Vec<T> v[N];
    UNROLL for (int n = 0; n < N; ++n) v[n] = load(w + n * spacing);
    UNROLL for (int m = 0; m < R; ++m) {
      const Vec<T> s = broadcast(*values(m));
      UNROLL for (int n = 0; n < N; ++n) acc[m][n] = multiply_add(v[n], s, acc[m][n]);
    }
  }
}

// Multiplies R rows of values by weights, and adds the products to R rows of N vectors, acc[R][N]. Row m of acc gets,
// for each channel j0 <= j < j1, the products of the value p[m][j] and the channel's N vectors of weights. w points to
// the weights of channel j0, where a group of kDepth<T> channels begins. The weights of the next group begin `step`
// values later. Within a group, the next vector begins `spacing` values later. Returns the address of the weights of
// the next group.
template <class T, int R, int N> INLINE const T* multiply(
    const T* const* p, int64_t j0, int64_t j1, const T* __restrict w, int64_t step, int64_t spacing, Vec<T> acc[R][N]) {
  constexpr int D = kDepth<T>;
  int64_t j = j0;
  const auto values = [&](int m) __attribute__((always_inline)) { return p[m] + j; };
  for (; j + D <= j1; j += D, w += step) multiply_channels<T, R, N>(values, w, spacing, acc);
  if constexpr (D > 1)
    if (j < j1) multiply_channels<T, R, N, 1>(values, w, spacing, acc), w += step;
  return w;
}

// Multiplies packed weights by the values that R cells read from their neighbours, and adds the products to acc[R][N].
// The first cell is i0. Each neighbour is a tap, and the weights of a tap are [groups of channels][N][lanes][channels
// of a group]. Calls prefetch_portion up to `portions` times. Returns the address behind the weights.
template <class T, int R, int N, class Prefetch> INLINE const T* multiply_taps(const Cells<T>& cells, int i0,
    const T* __restrict w, Vec<T> acc[R][N], int portions, const Prefetch& prefetch_portion) {
  constexpr int D = kDepth<T>, L = D * lanes<T>;
  int all = 0, s = 0;
  for (int k = 0; k < cells.taps; ++k) all += cells.channels[k];
  const int stretch = all < D * portions ? D : all / (D * portions) * D;
  for (int k = 0; k < cells.taps; ++k) {
    const T* const* tap = cells.tap + (int64_t)k * cells.count + i0;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = tap[m];
    const int channels = cells.channels[k];
    for (int j = 0; j < channels; j += stretch) {
      if (s < portions) prefetch_portion(s++);
      w = multiply<T, R, N>(p, j, channels - j < stretch ? channels : j + stretch, w, N * L, L, acc);
    }
  }
  return w;
}
template <class T, int R, int N> INLINE const T* multiply_taps(
    const Cells<T>& cells, int i0, const T* __restrict w, Vec<T> acc[R][N]) {
  constexpr int L = kDepth<T> * lanes<T>;
  for (int k = 0; k < cells.taps; ++k) {
    const T* const* tap = cells.tap + (int64_t)k * cells.count + i0;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = tap[m];
    w = multiply<T, R, N>(p, 0, cells.channels[k], w, N * L, L, acc);
  }
  return w;
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
