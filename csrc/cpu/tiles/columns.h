// Register tiles of run_columns (../column_kernels.h).
#pragma once
#include "../../cell.h"
#include "../grid.h"
#include "register_tile.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// acc[R][N] = the operands of R images times N vectors of a block of packed weights, `spacing` values from vector to
// vector.
template <class T, int R, int N>
INLINE void multiply_operands(
    const ColumnOperand<T>* taps, int n, int64_t image, const T* __restrict w, int64_t spacing, Vec<T> acc[R][N]) {
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] = Vec<T>{};
  for (int k = 0; k < n; ++k) {
    const Column<const T> input = taps[k].input;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = input.data + (image + m) * input.stride;
    w = multiply<T, R, N>(p, 0, taps[k].channels, w, kBlock, spacing, acc);
  }
}

template <class T> INLINE int64_t all_channels(const ColumnOperand<T>* taps, int n) {
  int64_t all = 0;
  for (int k = 0; k < n; ++k) all += taps[k].channels;
  return all;
}

// What is written, as it is or on the grid: rounded are the products' sums, sigmoid and tanh, c and h.
template <class T, bool on_grid> struct Written {
  using V = Vec<T>;
  static INLINE V rounded(V y) {
    if constexpr (on_grid) return (y + T(kGridMagic)) - T(kGridMagic);
    return y;
  }
  static INLINE V clamped(V y) {
    if constexpr (on_grid) return VectorMath<T>::clamp(y, T(kGridLimit));
    return y;
  }
  static INLINE V sigmoid(V x) { return rounded(VectorMath<T>::sigmoid(x)); }
  static INLINE V tanh(V x) { return rounded(VectorMath<T>::tanh(x)); }
};

template <class T, bool on_grid> struct ColumnTiles {
  using Math = Written<T, on_grid>;
  static constexpr int L = lanes<T>;
  static constexpr int kVectors = PIXELRNN_VECTOR_REGISTERS == 32 ? 4 : 2, kImages = kRows;
  static constexpr int kCellImages = PIXELRNN_VECTOR_REGISTERS == 32 ? kRows : 2;

  template <int R, int N>
  static void linear_tile(const ColumnOperand<T>* taps, int n, const T* w, int64_t output, int64_t outputs,
      int64_t image, const LinearColumn<T>& a) {
    Vec<T> acc[R][N];
    multiply_operands<T, R, N>(taps, n, image, w, L, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) {
      const int64_t first = output + v * L, left = outputs - first;
      Vec<T> y =
          Math::clamped(Math::rounded(acc[m][v] + load(a.base.data + (image + m) * a.base.stride + first, left)));
      if (a.relu) y = y < T(0) ? Vec<T>{} : y;  // NaN stays
      store(a.output.data + (image + m) * a.output.stride + first, y, left);
    }
  }
  template <int R>
  static void linear_images(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t outputs, int64_t image, const LinearColumn<T>& a) {
    const int64_t all = all_channels(taps, n);
    for (int64_t block = 0; block < outputs; block += kBlock, packed += all * kBlock) {
      const int64_t end = outputs - block < kBlock ? outputs - block : kBlock;
      for (int64_t o = 0; o < end;) {
        const int64_t vectors = (end - o + L - 1) / L;
        const T* w = packed + o;
        if (kVectors == 4 && vectors >= 3) {
          linear_tile<R, kVectors>(taps, n, w, block + o, outputs, image, a), o += kVectors * L;
        } else if (vectors >= 2) {
          linear_tile<R, 2>(taps, n, w, block + o, outputs, image, a), o += 2 * L;
        } else {
          linear_tile<R, 1>(taps, n, w, block + o, outputs, image, a), o += L;
        }
      }
    }
  }
  static void linear(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t outputs, int64_t images, const LinearColumn<T>& a) {
    for (int64_t image = 0; image < images;) {
      const int64_t tiles = (images - image + kImages - 1) / kImages, count = (images - image + tiles - 1) / tiles;
      switch (count) {
#define CASE(R)                                                                       \
  case R:                                                                             \
    if constexpr (R <= kImages) linear_images<R>(taps, n, packed, outputs, image, a); \
    break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
      }
      image += count;
    }
  }

  // One vector of units of an image, from the products z of its gates. Not inlined: compiled once, so that all tiles
  // round alike.
  static __attribute__((noinline)) void cell_vector(
      const Vec<T>* z, int64_t unit, int64_t left, int64_t image, const CellColumn<T>& a) {
    const T* base = a.base.data + image * a.base.stride + unit;
    Vec<T> pre[4];
    UNROLL for (int g = 0; g < 4; ++g) pre[g] = Math::rounded(z[g] + load(base + g * a.hidden, left));
    const Gates<Vec<T>> gates = activate<Math>(Gates<Vec<T>>{pre[0], pre[1], pre[2], pre[3]});
    const Vec<T> carried = load(a.carried.data + image * a.carried.stride + unit, left);
    const Vec<T> c = Math::clamped(Math::rounded(next_c(gates, carried)));
    const Vec<T> h = Math::rounded(hidden_state<Math>(gates, c));
    store(a.c.data + image * a.c.stride + unit, c, left);
    store(a.h.data + image * a.h.stride + unit, h, left);
    store(a.output.data + image * a.output.stride + unit,
        h + load(a.addend.data + image * a.addend.stride + unit, left), left);
  }
  // R images x one vector of units.
  template <int R>
  static void cell_tile(const ColumnOperand<T>* taps, int n, const T* w, int64_t unit, int64_t units, int64_t image,
      const CellColumn<T>& a) {
    Vec<T> acc[R][4], z[R][4];
    multiply_operands<T, R, 4>(taps, n, image, w, kBlock / 4, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int g = 0; g < 4; ++g) z[m][g] = acc[m][g];
    ROLL for (int m = 0; m < R; ++m) cell_vector(z[m], unit, units - unit, image + m, a);
  }
  template <int R>
  static void cell_images(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t units, int64_t image, const CellColumn<T>& a) {
    constexpr int64_t kUnits = kBlock / 4;
    const int64_t all = all_channels(taps, n);
    for (int64_t unit = 0; unit < units; unit += L)
      cell_tile<R>(taps, n, packed + unit / kUnits * all * kBlock + unit % kUnits, unit, units, image, a);
  }
  static void cell(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t units, int64_t images, const CellColumn<T>& a) {
    for (int64_t image = 0; image < images;) {
      const int64_t tiles = (images - image + kCellImages - 1) / kCellImages,
                    count = (images - image + tiles - 1) / tiles;
      switch (count) {
#define CASE(R)                                                                       \
  case R:                                                                             \
    if constexpr (R <= kCellImages) cell_images<R>(taps, n, packed, units, image, a); \
    break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
      }
      image += count;
    }
  }

  static constexpr ColumnKernels<T> kernels{linear, cell};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
