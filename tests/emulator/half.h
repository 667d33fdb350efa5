// bf16 and fp16 as bits.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace emulator {

inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
// By hand: without F16C a compiler calls a function for it, and the emulator spends a tenth of its time there.
inline float from_fp16(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, magnitude = uint32_t(bits & 0x7fff) << 13;
  if ((bits & 0x7c00) == 0x7c00) {  // infinite, or NaN, which is a quiet one from here on
    const uint32_t quiet = magnitude & 0x7fffff ? 0x400000 : 0;
    return std::bit_cast<float>(sign | 0x7f800000 | magnitude | quiet);
  }
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f));
}
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
