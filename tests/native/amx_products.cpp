// Compares TDPBF16PS with its emulation, bit for bit, on a machine that has AMX. The operands are ordinary numbers,
// and any bits, such as denormal numbers, infinities and NaN. A NaN is equal to any NaN.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "../../csrc/cpu/formats.h"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
#define PIXELRNN_ISA amx_products
#define PIXELRNN_VECTOR_BYTES 64
#define PIXELRNN_VECTOR_REGISTERS 32
#define PIXELRNN_BF16
#include "../../csrc/cpu/tiles/emulated_tiles.h"
#include "../../csrc/cpu/tiles/tile_registers.h"

using namespace pixelrnn::cpu;
using namespace pixelrnn::cpu::amx_products;

int main() {
  if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) return printf("no permission for AMX\n"), 1;
  std::mt19937 generator(1);
  int64_t sums = 0;
  for (int round = 0; round < 2000; ++round) {
    const int rows = 1 + round % kTwoTiles, used = rows < kTileRows ? rows : kTileRows;
    const bool any_bits = round % 4 == 3;
    alignas(64) Bf16 a[kTileSize], b[kTileSize];
    alignas(64) float c[kTileRows * 16], real[kTileRows * 16] = {}, emulated[kTileRows * 16] = {};
    const auto number = [&] {
      const uint32_t bits = generator();
      return any_bits ? bits_as<float>(bits) : std::ldexp(float(int32_t(bits)), -31 - int(bits % 8));
    };
    for (Bf16& x : a) x.bits = bits_as<uint32_t>(number()) >> 16;
    for (Bf16& x : b) x.bits = bits_as<uint32_t>(number()) >> 16;
    for (float& x : c) x = number();
    {
      TileRegisters registers;
      registers.configure(rows);
      written_to_memory();
      _tile_loadd(0, c, 64);
      _tile_loadd(4, a, 64);
      _tile_loadd(6, b, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_stored(0, real, 64);
      written_to_memory();
    }
    for (int tile : {0, 4, 6}) emulated_tiles.rows[tile] = tile == 6 ? kTileRows : used;
    emulate_loadd(0, c, 64), emulate_loadd(4, a, 64), emulate_loadd(6, b, 64);
    emulate_dpbf16ps(0, 4, 6);
    emulate_stored(0, emulated, 64);
    for (int i = 0; i < kTileRows * 16; ++i, ++sums) {
      if (std::isnan(real[i]) && std::isnan(emulated[i])) continue;
      if (bits_as<uint32_t>(real[i]) != bits_as<uint32_t>(emulated[i]))
        return printf("FAILED: round %d, sum %d: AMX has %a, the emulation %a\n", round, i, real[i], emulated[i]), 1;
    }
  }
  printf("%lld sums are equal\n", (long long)sums);
}
