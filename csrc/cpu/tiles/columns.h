#pragma once
#include "../../cell.h"
#include "../grid.h"
#include "register_tile.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Sets acc[R][N] to the inputs of R images times packed weights, for the first N SIMD vectors of outputs of a block.
template <class T, int R, int N, int block_vectors> INLINE void multiply_operands(
    const ColumnOperand<T>* taps, int n, int64_t image, const T* __restrict w, Vec<T> acc[R][N]) {
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] = Vec<T>{};
  for (int k = 0; k < n; ++k) {
    const Column<const T> input = taps[k].input;
    const T* p[R];
    UNROLL for (int m = 0; m < R; ++m) p[m] = input[image + m];
    w = multiply<T, R, N>(p, 0, taps[k].channels, w, block_vectors * lanes<T>, lanes<T>, acc);
  }
}

template <class T> INLINE int64_t all_channels(const ColumnOperand<T>* taps, int n) {
  int64_t all = 0;
  for (int k = 0; k < n; ++k) all += taps[k].channels;
  return all;
}

// Divides images into tiles of nearly equal size, at most `max` images. Calls tile(R, first image) for each tile of R
// images.
template <int max, class F> INLINE void tile_images(int64_t images, const F& tile) {
  for (int64_t image = 0; image < images;) {
    const int64_t tiles = (images - image + max - 1) / max, count = (images - image + tiles - 1) / tiles;
    with_constant<max>(count, [&](auto r) { tile(r, image); });
    image += count;
  }
}

// If on_grid, rounds and clamps results to the codec's grid (../grid.h).
template <class T, bool on_grid> struct GridMath {
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
  using Math = GridMath<T, on_grid>;
  static constexpr int L = lanes<T>;
  static constexpr int kVectors = k32Registers ? 4 : 2, kCellImages = k32Registers ? kRows : 2;
  static constexpr ColumnBlocks kBlocks{kVectors * L, L};

  template <int R, int N>
  static void linear_tile(const ColumnOperand<T>* taps, int n, const T* w, int64_t output, int64_t outputs,
      int64_t image, const LinearColumn<T>& a) {
    Vec<T> acc[R][N];
    multiply_operands<T, R, N, kVectors>(taps, n, image, w, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) {
      const int64_t first = output + v * L, left = outputs - first;
      Vec<T> y =
          Math::clamped(Math::rounded(acc[m][v] + load(a.base.data + (image + m) * a.base.stride + first, left)));
      if (a.relu) y = y < T(0) ? Vec<T>{} : y;  // NaN stays, because NaN < 0 is false
      store(a.output.data + (image + m) * a.output.stride + first, y, left);
    }
  }
  // Computes N vectors of outputs for all images. The images are in the inner loop, so that the weights of the N
  // vectors stay in the cache.
  template <int N>
  static void linear_block(const ColumnOperand<T>* taps, int n, const T* w, int64_t output, int64_t outputs,
      int64_t images, const LinearColumn<T>& a) {
    tile_images<kRows>(
        images, [&](auto r, int64_t image) { linear_tile<r, N>(taps, n, w, output, outputs, image, a); });
  }
  static void linear(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t outputs, int64_t images, const LinearColumn<T>& a) {
    const int64_t block = kBlocks.outputs * all_channels(taps, n);
    for (int64_t o = 0; o < outputs; o += kBlocks.outputs, packed += block) {
      const int64_t vectors = (outputs - o + L - 1) / L;
      if (kVectors == 4 && vectors >= 3) linear_block<kVectors>(taps, n, packed, o, outputs, images, a);
      else if (vectors >= 2) linear_block<2>(taps, n, packed, o, outputs, images, a);
      else linear_block<1>(taps, n, packed, o, outputs, images, a);
    }
  }

  // Computes a vector of hidden units of an LSTM cell. z holds, for each of the four gates, the sum of the products of
  // inputs and weights. The function is not inlined, so that its code rounds in the same way for all sizes of tiles.
  static __attribute__((noinline)) void cell_vector(
      const Vec<T>* z, int64_t unit, int64_t left, int64_t image, const CellColumn<T>& a) {
    const T* base = a.base[image] + unit;
    Vec<T> pre[4];
    UNROLL for (int g = 0; g < 4; ++g) pre[g] = Math::rounded(z[g] + load(base + g * a.hidden, left));
    const auto gates = activate<Math>(Gates<Vec<T>>{pre[0], pre[1], pre[2], pre[3]});
    const Vec<T> carried = load(a.carried[image] + unit, left);
    const Vec<T> c = Math::clamped(Math::rounded(next_c(gates, carried)));
    const Vec<T> h = Math::rounded(hidden_state<Math>(gates, c));
    store(a.c[image] + unit, c, left);
    store(a.h[image] + unit, h, left);
    store(a.output[image] + unit, h + load(a.addend[image] + unit, left), left);
  }
  template <int R>
  static void cell_tile(const ColumnOperand<T>* taps, int n, const T* w, int64_t unit, int64_t units, int64_t image,
      const CellColumn<T>& a) {
    Vec<T> acc[R][4], z[R][4];
    multiply_operands<T, R, 4, 4>(taps, n, image, w, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int g = 0; g < 4; ++g) z[m][g] = acc[m][g];
    ROLL for (int m = 0; m < R; ++m) cell_vector(z[m], unit, units - unit, image + m, a);
  }
  static void cell(
      const ColumnOperand<T>* taps, int n, const T* packed, int64_t units, int64_t images, const CellColumn<T>& a) {
    const int64_t block = 4 * kBlocks.units * all_channels(taps, n);
    for (int64_t unit = 0; unit < units; unit += kBlocks.units, packed += block)
      tile_images<kCellImages>(
          images, [&](auto r, int64_t image) { cell_tile<r>(taps, n, packed, unit, units, image, a); });
  }

  static constexpr ColumnKernels<T> kernels{kBlocks, linear, cell};
};

// Numbers of at least `integral`, a power of two, are on the grid. Adding it to a smaller number and subtracting it
// again rounds the number, ties to even.
template <class T> void round_to_grid(T* x, int64_t n, T integral, T limit) {
  using Integer = typename Simd<T>::I;
  const Integer sign = (Integer)(-Vec<T>{});
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const Vec<T> y = load(x + i, n - i), size = (Vec<T>)((Integer)y & ~sign);
    const Vec<T> large = (Vec<T>)((Integer)broadcast<T>(integral) | ((Integer)y & sign));
    const Vec<T> rounded = size < integral ? (y + large) - large : y;
    store(x + i, VectorMath<T>::clamp(rounded, limit), n - i);
  }
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
