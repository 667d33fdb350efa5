// Packs the weights of a scan in the order in which its tiles read them.
#pragma once
#include "bf16.h"
#include "register_tile.h"
#include "simd.h"
#include "transposition.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Gates that forward_tile multiplies at a time. 16 registers suffice for two gates x 6 cells, or four gates x 3 cells.
// With 6 cells, a tile reads fewer weights per cell.
template <int G> constexpr int kGatesAtOnce = !k32Registers ? 2 : G == 5 ? 3 : 4;

// Packs a group of columns. Columns that do not exist are null. n of the units exist.
template <class T>
void pack_columns(const T* const (&from)[kDepth<T>], int64_t step, int64_t n, int units, T* to) {
  constexpr int L = lanes<T>, D = kDepth<T>;
  if (step != 1)
    for (int d = 0; d < D; ++d)
      for (int u = 0; u < units; ++u) to[u * D + d] = from[d] && u < n ? from[d][u * step] : T(0);
  else if constexpr (D == 1)
    for (int u = 0; u < units; u += L) store(to + u, load(from[0] + u, n - u));
  else
    for (int u = 0; u < units; u += L)
      store_pairs(to + 2 * u, zip(from[0] + u, from[1] ? from[1] + u : nullptr, n - u));
}

// Packs the transposed weights of a tap, for `size` of its `channels` channels from `first` on, as [column][channel]. A
// column is one gate of one unit. packed_index() gives the order. The weights of missing channels are zero.
template <class T> void pack_transposed(
    const Weights<const T>& weight, int hidden, int columns, int first, int channels, int size, T* to) {
  constexpr int D = kDepth<T>;
  for (int column = 0; column < columns; column += D) {
    const int64_t step = weight.channel_stride;
    const T* from[D];
    for (int d = 0; d < D; ++d)
      from[d] = column + d < columns ? weight.column(column + d, hidden) + first * step : nullptr;
    pack_columns<T>(from, step, channels - first, size, to + (int64_t)column * size);
  }
}

// P is the number of gates that the forward multiplies at a time. The channels of a block are padded with zeros to a
// multiple of `depth_step`.
template <class T, int G, int P = kGatesAtOnce<G>, int depth_step = kDepth<T>> class ScanPacking {
 public:
  // Packs the weights as [block of units][group of gates][tap][channel][gate of the group][unit of the block]. A group
  // has up to P gates. packed_index() gives the order of channels, gates and units.
  static void forward(
      int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1) {
    const int64_t depth = packed_depth<T>(taps, channels), all = padded(depth, depth_step);
    for (int b = b0; b < b1; ++b)
      for (int g = 0; g < G; ++g) {
        const int64_t u = (int64_t)b * L;
        const int units = hidden - u < L ? hidden - u : L;
        const int first = g / P * P;
        const int64_t step = (G - first < P ? G - first : P) * L;
        T* to = packed + ((int64_t)b * G + first) * all * L + (g - first) * L * D;
        for (int k = 0; k < taps; to += padded_channels<T>(channels[k++]) * step) {
          const Weights<const T>& w = weight[k];
          const T* from = w.row(u, g);
          for (int j = transpose_channels(w, units, channels[k], from, to, step); j < channels[k]; ++j) {
            T* row = to + packed_index<T>(j, 0, step);
            for (int l = 0; l < units; ++l) row[l * D] = from[l * w.unit_stride + j * w.channel_stride];
          }
          for (int j = 0; j < padded_channels<T>(channels[k]); ++j)
            for (int l = j < channels[k] ? units : 0; l < L; ++l) to[packed_index<T>(j, l, step)] = T(0);
        }
        for (int64_t j = 0; j < all - depth; ++j)
          for (int l = 0; l < L; ++l) to[packed_index<T>(j, l, step)] = T(0);
      }
  }
  // Packs the transposed weights as [block of units][tap][column][unit of the block].
  static void backward(int vectors, int hidden, int taps, const Weights<const T>* weight, T* packed, int b0, int b1) {
    const int units = L * vectors;
    const int64_t all = padded(taps * padded_channels<T>(G * hidden), depth_step) * units;
    for (int b = b0; b < b1; ++b) {
      T* to = packed + b * all;
      for (int k = 0; k < taps; ++k, to += padded_channels<T>(G * hidden) * units)
        pack_transposed(weight[k], hidden, G * hidden, b * units, hidden, units, to);
      for (T* end = packed + (b + 1) * all; to < end; ++to) *to = T(0);
    }
  }

 private:
  static constexpr int L = lanes<T>, D = kDepth<T>;

  // Packs the first channels of some units if their weights are adjacent. Returns the number of these channels.
  static int transpose_channels(
      const Weights<const T>& w, int units, int channels, const T* from, T* to, int64_t step) {
    if (w.channel_stride != 1) return 0;
    if constexpr (D == 1) {
      Transposition<T>::transpose(units, channels, from, nullptr, w.unit_stride, to, step);
      return channels;
    } else {  // moves pairs of channels as if they were numbers of float
      int j = 0;
      if (units == L && w.unit_stride % 2 == 0 && reinterpret_cast<uintptr_t>(from) % sizeof(float) == 0)
        for (; j + 2 * L <= channels; j += 2 * L)
          transpose_block<float>(reinterpret_cast<const float*>(from + j), nullptr, w.unit_stride / 2,
              reinterpret_cast<float*>(to + j * step), step);
      return j;
    }
  }
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
