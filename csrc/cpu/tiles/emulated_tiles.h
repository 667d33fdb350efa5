// The instructions of AMX in plain C++, for tests on a machine that lacks AMX. The results have the bits of the
// instructions, which tests/native/amx_products.cpp checks on a machine that has AMX.
#pragma once
#include "bf16.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

struct EmulatedTiles {
  uint8_t rows[8];
  alignas(64) unsigned char tile[8][16][64];
};
inline thread_local EmulatedTiles emulated_tiles;

INLINE void emulate_loadconfig(const void* config) {
  __builtin_memcpy(emulated_tiles.rows, static_cast<const char*>(config) + 48, 8);
}
// The registers have garbage after their release, so that a kernel that relies on them fails its test.
INLINE void emulate_release() { __builtin_memset(&emulated_tiles, 0xff, sizeof emulated_tiles); }
INLINE void emulate_zero(int tile) { __builtin_memset(emulated_tiles.tile[tile], 0, sizeof emulated_tiles.tile[tile]); }
INLINE void emulate_loadd(int tile, const void* p, int64_t stride) {
  for (int m = 0; m < emulated_tiles.rows[tile]; ++m)
    __builtin_memcpy(emulated_tiles.tile[tile][m], static_cast<const char*>(p) + m * stride, 64);
}
INLINE void emulate_stored(int tile, void* p, int64_t stride) {
  for (int m = 0; m < emulated_tiles.rows[tile]; ++m)
    __builtin_memcpy(static_cast<char*>(p) + m * stride, emulated_tiles.tile[tile][m], 64);
}
// TDPBF16PS adds the products of the first numbers of all pairs, in order, and likewise those of the second numbers. It
// adds both sums, then the result to the tile. It rounds after each addition, and treats denormal numbers as zero.
INLINE void emulate_dpbf16ps(int sums, int values, int weights) {
  auto& t = emulated_tiles;
  for (int m = 0; m < t.rows[sums]; ++m) {
    auto* row = reinterpret_cast<float*>(t.tile[sums][m]);
    Vec<float> first{}, second{};
    for (int k = 0; k < t.rows[weights]; ++k) {
      const Pairs a = broadcast_pair<2>(reinterpret_cast<const Bf16*>(t.tile[values][m]) + 2 * k);
      const Pairs b = load_pairs(reinterpret_cast<const Bf16*>(t.tile[weights][k]));
      first = flushed(multiply_add(first_numbers(a), first_numbers(b), first));
      second = flushed(multiply_add(second_numbers(a), second_numbers(b), second));
    }
    store(row, flushed(flushed(load(row)) + flushed(first + second)));
  }
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
