// The tile registers of AMX. A register holds up to 16 rows of 64 bytes. TDPBF16PS adds to a tile of sums, 16 rows x 16
// columns in float32, the product of a tile of values, 16 rows x 32 channels, and a tile of weights, 16 pairs of
// channels x 16 columns.
//
// Other libraries, such as oneDNN, use the registers in the same threads with configurations of their own. So a call of
// a kernel loads its configuration at the beginning and releases the registers at its end, which takes 47 ns. In
// return, each call has tiles of just as many rows as it has cells, and TDPBF16PS takes about a cycle a row.
#pragma once
#include "../kernels.h"
#include "bf16.h"
#include "simd.h"
#if defined(PIXELRNN_EMULATED_AMX)
#include "emulated_tiles.h"
#define TILE(instruction, ...) emulate_##instruction(__VA_ARGS__)
#else
#define TILE(instruction, ...) _tile_##instruction(__VA_ARGS__)
#endif

namespace pixelrnn::cpu::PIXELRNN_ISA {

// The rows and the channels of a tile. A product has up to two tiles of rows (cells).
constexpr int kTileRows = 16, kTileDepth = 32, kTwoTiles = 2 * kTileRows;
// The numbers of a tile of weights.
constexpr int kTileSize = kTileDepth * kTileRows;

// Registers 0 to 3 hold sums: 0 and 1 those of the first 16 rows, for two tiles of columns, 2 and 3 those of the rows
// after the 16th. Registers 4 and 5 hold the values of these rows, 6 and 7 weights.
class TileRegisters {
 public:
  TileRegisters() = default;
  INLINE ~TileRegisters() { TILE(release); }
  TileRegisters(const TileRegisters&) = delete;

  // Sets the number of rows. If it changes, the registers lose their contents.
  INLINE void configure(int rows) {
    if (rows == rows_) return;
    rows_ = rows;
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {};
    } config;
    const uint8_t first = rows < kTileRows ? rows : kTileRows, second = rows - first;
    const uint8_t all[] = {first, first, second, second, first, second, kTileRows, kTileRows};
    for (int i = 0; i < 8; ++i) {
      config.rows[i] = all[i];
      if (!all[i]) config.row_bytes[i] = 0;
    }
    // Some compilers believe that the instruction reads only a part of the configuration.
    __asm__ volatile("" ::"r"(&config) : "memory");
    TILE(loadconfig, &config);
  }

 private:
  int rows_ = 0;
};

// GCC's intrinsics for tile loads do not tell the compiler that they read memory.
INLINE void written_to_memory() { __asm__ volatile("" ::: "memory"); }

// A sum has M tiles of rows and N tiles of columns. In memory, `row` is the number of values from one row to the next,
// `right` from one tile of columns to the next, and `down` from one tile of rows to the next.
struct SumLayout { int64_t row, right, down; };

// Begins all rows of the sums with the same values, `row`.
template <int M, int N> INLINE void begin_sums(const float* row) {
  TILE(loadd, 0, row, 0);
  if constexpr (N == 2) TILE(loadd, 1, row + kTileRows, 0);
  if constexpr (M == 2) TILE(loadd, 2, row, 0);
  if constexpr (M == 2 && N == 2) TILE(loadd, 3, row + kTileRows, 0);
}
template <int M, int N> INLINE void clear_sums() {
  TILE(zero, 0);
  if constexpr (N == 2) TILE(zero, 1);
  if constexpr (M == 2) TILE(zero, 2);
  if constexpr (M == 2 && N == 2) TILE(zero, 3);
}
template <int M, int N> INLINE void load_sums(const float* p, SumLayout s) {
  const int64_t bytes = s.row * sizeof(float);
  TILE(loadd, 0, p, bytes);
  if constexpr (N == 2) TILE(loadd, 1, p + s.right, bytes);
  if constexpr (M == 2) TILE(loadd, 2, p + s.down, bytes);
  if constexpr (M == 2 && N == 2) TILE(loadd, 3, p + s.down + s.right, bytes);
}
template <int M, int N> INLINE void store_sums(float* p, SumLayout s) {
  const int64_t bytes = s.row * sizeof(float);
  TILE(stored, 0, p, bytes);
  if constexpr (N == 2) TILE(stored, 1, p + s.right, bytes);
  if constexpr (M == 2) TILE(stored, 2, p + s.down, bytes);
  if constexpr (M == 2 && N == 2) TILE(stored, 3, p + s.down + s.right, bytes);
}

// Values [rows][channels], of which a row begins `row` values after the previous one.
struct TileValues {
  const Bf16* data;
  int64_t row;
};
// Weights [tile of columns][pair of channels][column][2]. A pair begins `row` values after the previous one, and a tile
// of columns `right` values after the previous one.
struct TileWeights {
  const Bf16* data;
  int64_t row, right;
};

// Adds the products of `steps` x 32 channels to the sums. Calls between() after each step. The products take no vector
// registers and no ports of the vector units, so other work can overlap with them there.
template <int M, int N, class Between>
INLINE void add_tiles(TileValues a, TileWeights b, int64_t steps, const Between& between) {
  const int64_t a_bytes = a.row * sizeof(Bf16), b_bytes = b.row * sizeof(Bf16);
  for (int64_t s = 0; s < steps; ++s, a.data += kTileDepth, b.data += kTileDepth / 2 * b.row) {
    TILE(loadd, 4, a.data, a_bytes);
    TILE(loadd, 6, b.data, b_bytes);
    TILE(dpbf16ps, 0, 4, 6);
    if constexpr (N == 2) {
      TILE(loadd, 7, b.data + b.right, b_bytes);
      TILE(dpbf16ps, 1, 4, 7);
    }
    if constexpr (M == 2) {
      TILE(loadd, 5, a.data + kTileRows * a.row, a_bytes);
      TILE(dpbf16ps, 2, 5, 6);
      if constexpr (N == 2) TILE(dpbf16ps, 3, 5, 7);
    }
    between();
  }
}
template <int M, int N> INLINE void add_tiles(TileValues a, TileWeights b, int64_t steps) {
  add_tiles<M, N>(a, b, steps, [] {});
}

// Calls f(M, N) with the numbers of tiles of `rows` rows and `blocks` tiles of columns as compile-time constants.
template <class F> INLINE void with_tiles(int rows, int blocks, const F& f) {
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 2> two;
  if (rows > kTileRows) blocks > 1 ? f(two, two) : f(two, one);
  else blocks > 1 ? f(one, two) : f(one, one);
}

// The values that up to 32 cells read at all taps, as a matrix [cells][channels].
struct Panel {
  int first, count;
  TileValues values;
};

// Copies the values of some cells to panels. A tap has an even number of channels, and all taps together have a
// multiple of 32, of which the last are zero. The constant of a bias is not copied, because the sums begin with the
// bias. An odd number of cache lines lies between two rows, so that the rows of a tile do not evict each other from the
// L1 cache.
class Panels {
 public:
  template <int max_count> static int64_t scratch_size(int taps, const int* channels) {
    return max_count * kTwoTiles * row_of(depth_of(taps, channels)) + kTileDepth;
  }
  INLINE Panels(const Cells<Bf16>& cells, int first, int cell_count, Bf16* scratch)
      : count((cell_count + kTwoTiles - 1) / kTwoTiles),
        first_(first),
        cell_count_(cell_count),
        taps_(cells.taps - cells.has_bias),
        depth_(depth_of(cells.taps, cells.channels)),
        steps_(int(depth_of(taps_, cells.channels) / kTileDepth)),
        row_(row_of(depth_)),
        data_(scratch) {
    for (int m = 0; m < cell_count; ++m) {
      Bf16* to = data_ + m * row_;
      for (int k = 0; k < taps_; ++k) {
        const Bf16* from = cells.tap[(int64_t)k * cells.count + first + m];
        const int n = cells.channels[k];
        int j = 0;
        for (; j + kTileDepth <= n; j += kTileDepth) store_pairs(to + j, load_pairs(from + j));
        if (j < n) store_pairs(to + j, load_pairs(from + j, n - j));
        to += padded_channels<Bf16>(n);
      }
      store_pairs(to, Pairs{});  // the padding, and perhaps values of the next row, which are written later
    }
    written_to_memory();
    if (cells.has_bias) bias_row_ = packed_depth<Bf16>(taps_, cells.channels) / 2;
  }
  // The number of channels of the packed weights, and the number of tiles of channels that have values.
  INLINE int64_t depth() const { return depth_; }
  INLINE int steps() const { return steps_; }
  // Writes the values with which the sums of `columns` columns begin. w points to packed weights [pair of
  // channels][columns][2]. A bias is the first number of a pair, and the second number is zero.
  INLINE void write_first_sums(const Bf16* w, int columns, float* to) const {
    for (int i = 0; i < columns; i += kTileRows) {
      Pairs bits{};
      if (bias_row_ >= 0) bits = load_pairs(w + 2 * (bias_row_ * columns + i)) << 16;
      store<float>(to + i, (Vec<float>)bits);
    }
    written_to_memory();
  }
  INLINE Panel operator[](int i) const {
    const int begin = cell_count_ * i / count, end = cell_count_ * (i + 1) / count;
    return {first_ + begin, end - begin, {data_ + begin * row_, row_}};
  }

  const int count;

 private:
  static INLINE int64_t depth_of(int taps, const int* channels) {
    return padded(packed_depth<Bf16>(taps, channels), kTileDepth);
  }
  static INLINE int64_t row_of(int64_t depth) { return (depth / kTileDepth | 1) * kTileDepth; }

  const int first_, cell_count_, taps_;
  const int64_t depth_;
  const int steps_;
  const int64_t row_;
  Bf16* const data_;
  int64_t bias_row_ = -1;
};

#undef TILE

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
