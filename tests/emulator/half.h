// bf16 and fp16 as bits.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
inline float from_fp16(uint16_t bits) { return float(std::bit_cast<_Float16>(bits)); }
inline uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline uint16_t to_fp16(double x) { return std::bit_cast<uint16_t>(_Float16(x)); }
// Rounded once: to odd in float, which keeps what the rounding to nearest needs to know.
inline uint16_t to_bf16(double x) {
  const float nearest = float(x);
  auto bits = std::bit_cast<uint32_t>(nearest);
  if (std::isfinite(nearest) && double(nearest) != x) {
    if (std::fabs(double(nearest)) > std::fabs(x)) --bits;
    bits |= 1;
  }
  return to_bf16(std::bit_cast<float>(bits));
}

}  // namespace emulator
