// Register tiles of the scan for one instruction set. The including file selects the target and defines PIXELRNN_ISA
// (a namespace), PIXELRNN_VECTOR_BYTES and PIXELRNN_VECTOR_REGISTERS.
#include "../cell.h"
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

#if PIXELRNN_VECTOR_REGISTERS == 32
constexpr int kForwardGates = 4, kWeightRows = 6;
#else
constexpr int kForwardGates = 2, kWeightRows = 3;  // two gates at a time: fewer weights are read than by 3 cells x 4
#endif
constexpr int kForwardCells = 6;
constexpr int kConvolutionCells = PIXELRNN_VECTOR_REGISTERS == 32 ? 14 : 6;  // of two vectors each

// R cells x one vector of units.
template <class T, int R>
void forward_tile(const Rows<T>& rows, int i0, int hidden, int u0, const T* w, const ForwardMaps<T>& maps) {
  constexpr int L = lanes<T>, G = kForwardGates;
  using Math = VectorMath<T>;
  const int64_t n = hidden - u0 < L ? hidden - u0 : L;
  UNROLL for (int m = 0; m < R; ++m) {
    const int64_t next = (rows.cell[i0 + m] + rows.ahead) * hidden + u0;
    if (maps.x) prefetch<4 * L * sizeof(T)>(maps.x + next * 4);
    prefetch_for_write<4 * L * sizeof(T)>(maps.gates + next * 4);
  }
  Vec<T> z[R][4];
  UNROLL for (int g0 = 0; g0 < 4; g0 += G) {
    Vec<T> acc[R][G] = {};  // apart from z: the rolled loop below would keep it out of registers
    w = multiply_taps<T, R, G>(rows, i0, w, acc);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int g = 0; g < G; ++g) z[m][g0 + g] = acc[m][g];
  }
  ROLL for (int m = 0; m < R; ++m) {
    const int64_t at = rows.cell[i0 + m] * hidden + u0;
    Gates<Vec<T>> pre{z[m][0], z[m][1], z[m][2], z[m][3]};
    if (maps.x) {
      const Gates<Vec<T>> x = load_gates(maps.x + at * 4, n);
      pre = {pre.i + x.i, pre.f + x.f, pre.g + x.g, pre.o + x.o};
    }
    const Gates<Vec<T>> a = activate<Math>(pre);
    const Vec<T> c = next_c(a, load(rows.carry[i0 + m] + u0, n));
    store_gates(maps.gates + at * 4, n, a);
    store(maps.c + at, c, n);
    store(maps.h + at, hidden_state<Math>(a, c), n);
  }
}

// R cells x N vectors of units: dh is the outer gradient plus the product, over the cells that read this one, of their dx
// with the transposed weights.
template <class T, int R, int N>
void backward_tile(const Rows<T>& rows, int i0, int hidden, int u0, const T* w, const BackwardMaps<T>& maps) {
  constexpr int L = lanes<T>;
  UNROLL for (int m = 0; m < R; ++m) {
    const int64_t next = (rows.cell[i0 + m] + rows.ahead) * hidden + u0;
    prefetch<4 * N * L * sizeof(T)>(maps.gates + next * 4);
    prefetch<N * L * sizeof(T)>(maps.dh + next);
    prefetch<N * L * sizeof(T)>(maps.c + next);
    prefetch_for_write<4 * N * L * sizeof(T)>(maps.dx + next * 4);
  }
  Vec<T> acc[R][N] = {};
  multiply_taps<T, R, N>(rows, i0, w, acc);
  Vec<T> product[R][N];
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) product[m][v] = acc[m][v];
  ROLL for (int m = 0; m < R; ++m) ROLL for (int v = 0; v < N; ++v) {
    const int u = u0 + v * L;
    const int64_t n = hidden - u, at = rows.cell[i0 + m] * hidden + u;
    if (n <= 0) break;
    T* dc_at = maps.dc + rows.chain[i0 + m] * hidden + u;
    Vec<T> dc = load(dc_at, n);
    const Vec<T> dh = load(maps.dh + at, n) + product[m][v];
    const Gates<Vec<T>> dx = cell_backward<VectorMath<T>>(load_gates(maps.gates + at * 4, n), load(maps.c + at, n), load(rows.carry[i0 + m] + u, n), dh, dc);
    store(dc_at, dc, n);
    store_gates(maps.dx + at * 4, n, dx);
  }
}

// R channels x N vectors of outputs, summed over n cells whose dy columns lie side by side in b [n][N][lanes].
template <class T, int R, int N>
void weight_tile(int n, const T* const* tap, int channel, const T* __restrict b, T* sum, int64_t columns) {
  constexpr int L = lanes<T>;
  Vec<T> acc[R][N];
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] = load(sum + m * columns + v * L);
  for (int k = 0; k < n; ++k, b += N * L) {
    const T* p = tap[k] + channel;
    Vec<T> w[N];
    UNROLL for (int v = 0; v < N; ++v) w[v] = load(b + v * L);
    UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) acc[m][v] += w[v] * p[m];
  }
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) store(sum + m * columns + v * L, acc[m][v]);
}

// R cells x N vectors of outputs.
template <class T, int R, int N>
void convolution_tile(const Rows<T>& rows, int i0, int outputs, int o0, const T* w, bool relu, T* y) {
  constexpr int L = lanes<T>;
  Vec<T> acc[R][N] = {};
  multiply_taps<T, R, N>(rows, i0, w, acc);
  UNROLL for (int m = 0; m < R; ++m) UNROLL for (int v = 0; v < N; ++v) {
    const int o = o0 + v * L;
    store(y + rows.cell[i0 + m] * outputs + o, relu ? max(Vec<T>{}, acc[m][v]) : acc[m][v], outputs - o);
  }
}

// Zero where y is not positive; as torch, where it is NaN the value itself.
template <class T> INLINE Vec<T> where_positive(Vec<T> y, Vec<T> v) { return y <= T(0) ? Vec<T>{} : v; }

template <class T> void transpose_block(const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int L = lanes<T>;
  using S = typename Lanes<T, L>::S;
  Vec<T> v[L], mixed[L];
  UNROLL for (int k = 0; k < L; ++k) v[k] = load(from + k * from_stride);
  if (y) UNROLL for (int k = 0; k < L; ++k) v[k] = where_positive<T>(load(y + k * from_stride), v[k]);
  UNROLL for (int step = 1; step < L; step *= 2) {  // each moves a bit of the vector's index into the lane's, and back
    UNROLL for (int k = 0; k < L / 2; ++k) {
      mixed[2 * k] = S::low(v[k], v[k + L / 2]);
      mixed[2 * k + 1] = S::high(v[k], v[k + L / 2]);
    }
    UNROLL for (int k = 0; k < L; ++k) v[k] = mixed[k];
  }
  UNROLL for (int k = 0; k < L; ++k) store(to + k * to_stride, v[k]);
}

template <class T> struct Tiles {
  static constexpr int L = lanes<T>;
  static constexpr int kRun = 128;  // cells of a weight gradient whose columns are kept in L1

  static int backward_vectors(int hidden) {
    const int vectors = (hidden + L - 1) / L;
    return PIXELRNN_VECTOR_REGISTERS == 32 && vectors % 4 == 0 ? 4 : vectors % 2 == 0 ? 2 : 1;
  }
  static int block_units(Pass pass, int hidden) { return pass == Pass::kForward ? L : L * backward_vectors(hidden); }
  static int max_cells(Pass pass, int hidden) {
    if (pass == Pass::kForward) return kForwardCells;
    const int v = backward_vectors(hidden);
    return v == 4 || (v == 2 && PIXELRNN_VECTOR_REGISTERS == 16) ? 6 : 8;
  }

  static void pack(Pass pass, int hidden, int taps, const int* channels, const T* const* weight, T* packed, int b0, int b1) {
    pass == Pass::kForward ? pack_forward(hidden, taps, channels, weight, packed, b0, b1)
                           : pack_backward(hidden, taps, weight, packed, b0, b1);
  }
  // [block][4 / kForwardGates][all channels][kForwardGates][lanes]
  static void pack_forward(int hidden, int taps, const int* channels, const T* const* weight, T* packed, int b0, int b1) {
    constexpr int G = kForwardGates;
    int64_t all = 0;
    for (int k = 0; k < taps; ++k) all += channels[k];
    for (int b = b0; b < b1; ++b)
      for (int g = 0; g < 4; ++g)
        for (int l = 0; l < L; ++l) {
          const int64_t u = (int64_t)b * L + l;
          T* to = packed + (((int64_t)b * (4 / G) + g / G) * all * G + g % G) * L + l;
          for (int k = 0; k < taps; ++k) {
            const T* from = weight[k] + (u * 4 + g) * channels[k];
            for (int j = 0; j < channels[k]; ++j, to += G * L) *to = u < hidden ? from[j] : T(0);
          }
        }
  }
  // [block][taps][hidden][4][vectors][lanes]
  static void pack_backward(int hidden, int taps, const T* const* weight, T* packed, int b0, int b1) {
    const int units = L * backward_vectors(hidden);
    T* to = packed + (int64_t)b0 * taps * 4 * hidden * units;
    for (int b = b0; b < b1; ++b)
      for (int k = 0; k < taps; ++k)
        for (int64_t row = 0; row < 4 * hidden; ++row)
          for (int u = b * units; u < (b + 1) * units; ++u) *to++ = u < hidden ? weight[k][row * hidden + u] : T(0);
  }

  static void forward(const Rows<T>& rows, int first, int count, int block, int hidden, const T* packed, const ForwardMaps<T>& maps) {
    int64_t all = 0;
    for (int k = 0; k < rows.taps; ++k) all += rows.channels[k];
    const T* w = packed + block * all * 4 * L;
    switch (count) {
#define CASE(R) case R: return forward_tile<T, R>(rows, first, hidden, block * L, w, maps);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
    }
  }

  template <int N>
  static void backward_block(const Rows<T>& rows, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>& maps) {
    const T* w = packed + (int64_t)block * rows.taps * 4 * hidden * N * L;
    switch (count) {
#define CASE(R) case R: if constexpr (R * N <= 24) return backward_tile<T, R, N>(rows, first, hidden, block * N * L, w, maps);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#undef CASE
    }
  }
  static void backward(const Rows<T>& rows, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>& maps) {
    switch (backward_vectors(hidden)) {
      case 1: return backward_block<1>(rows, first, count, block, hidden, packed, maps);
      case 2: return backward_block<2>(rows, first, count, block, hidden, packed, maps);
#if PIXELRNN_VECTOR_REGISTERS == 32
      case 4: return backward_block<4>(rows, first, count, block, hidden, packed, maps);
#endif
    }
  }

  // Columns are taken four vectors at a time, then the one, two or four that hold the rest.
  static int columns(int outputs) {
    const int vectors = (outputs + L - 1) / L;
    return (vectors + (vectors % 4 == 3)) * L;
  }
  static void weight_gradient(const Rows<T>& rows, int outputs, const T* dy, T* sum, T* scratch) {
    const int all_columns = columns(outputs);
    for (int i0 = 0; i0 < rows.cells; i0 += kRun) {
      const int n = rows.cells - i0 < kRun ? rows.cells - i0 : kRun;
      for (int c0 = 0; c0 < all_columns;) {
        const int rest = (all_columns - c0) / L;
        if (rest >= 4) weight_columns<4>(rows, i0, n, outputs, c0, dy, sum, scratch), c0 += 4 * L;
        else if (rest >= 2) weight_columns<2>(rows, i0, n, outputs, c0, dy, sum, scratch), c0 += 2 * L;
        else weight_columns<1>(rows, i0, n, outputs, c0, dy, sum, scratch), c0 += L;
      }
    }
  }
  template <int N>
  static void weight_columns(const Rows<T>& rows, int i0, int n, int outputs, int c0, const T* dy, T* sum, T* scratch) {
    constexpr int most = N == 4 ? kWeightRows : 2 * kWeightRows;
    const int64_t all_columns = columns(outputs);
    for (int k = 0; k < n; ++k) {
      const T* from = dy + rows.cell[i0 + k] * outputs + c0;
      prefetch<N * L * sizeof(T)>(from + N * L);
      UNROLL for (int v = 0; v < N; ++v) store(scratch + (k * N + v) * L, load(from + v * L, outputs - c0 - v * L));
    }
    T* s = sum + c0;
    for (int k = 0; k < rows.taps; ++k) {
      const T* const* tap = rows.tap + (int64_t)k * rows.cells + i0;
      const int channels = rows.channels[k], tiles = (channels + most - 1) / most;
      for (int t = 0; t < tiles; ++t) {
        const int j0 = (int64_t)channels * t / tiles, j1 = (int64_t)channels * (t + 1) / tiles;
        weight_rows<N>(j1 - j0, n, tap, j0, scratch, s + j0 * all_columns, all_columns);
      }
      s += channels * all_columns;
    }
  }
  template <int N>
  static void weight_rows(int count, int n, const T* const* tap, int channel, const T* b, T* sum, int64_t columns) {
    constexpr int most = N == 4 ? kWeightRows : 2 * kWeightRows;
    switch (count) {
#define CASE(R) case R: if constexpr (R <= most) return weight_tile<T, R, N>(n, tap, channel, b, sum, columns);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
  }

  static void activation(bool is_tanh, int64_t n, const T* x, T* y) {
    using Math = VectorMath<T>;
    for (int64_t i = 0; i < n; i += L) {
      const Vec<T> v = load(x + i, n - i);
      store(y + i, is_tanh ? Math::tanh(v) : Math::sigmoid(v), n - i);
    }
  }

  static int block_outputs(int outputs, int o0) { return outputs - o0 > L ? 2 * L : L; }
  static void convolve(const Rows<T>& rows, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y) {
    block_outputs(outputs, o0) == L ? convolve_block<1>(rows, first, count, outputs, o0, packed, relu, y)
                                    : convolve_block<2>(rows, first, count, outputs, o0, packed, relu, y);
  }
  template <int N>
  static void convolve_block(const Rows<T>& rows, int i0, int count, int outputs, int o0, const T* w, bool relu, T* y) {
    switch (count) {
#define CASE(R) case R: if constexpr (R <= kConvolutionCells) return convolution_tile<T, R, N>(rows, i0, outputs, o0, w, relu, y);
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#undef CASE
    }
  }

  static void copy(int64_t n, const T* from, const T* y, T* to) {
    for (int64_t i = 0; i < n; i += L) {
      const Vec<T> v = load(from + i, n - i);
      store(to + i, y ? where_positive<T>(load(y + i, n - i), v) : v, n - i);
    }
  }
  static void transpose(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride) {
    if (rows < L || columns < L) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          const int64_t at = i * from_stride + j;
          to[j * to_stride + i] = y && y[at] <= 0 ? T(0) : from[at];
        }
      return;
    }
    for (int64_t i = 0; i < rows; i += L)
      for (int64_t j = 0; j < columns; j += L) {  // the last blocks overlap those before
        const int64_t i0 = i < rows - L ? i : rows - L, j0 = j < columns - L ? j : columns - L;
        const int64_t at = i0 * from_stride + j0;
        transpose_block(from + at, y ? y + at : y, from_stride, to + j0 * to_stride + i0, to_stride);
      }
  }

  static constexpr Kernels<T> table{
      block_units,     max_cells,  pack,          forward,           backward, columns, kRun * 4 * L,
      weight_gradient, activation, block_outputs, kConvolutionCells, convolve, copy,    transpose};
};
}  // namespace pixelrnn::cpu::PIXELRNN_ISA
