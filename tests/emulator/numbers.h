#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace emulator {

inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
// A cast of _Float16 is a slow function call on processors without F16C.
inline float from_fp16(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, magnitude = uint32_t(bits & 0x7fff) << 13;
  if ((bits & 0x7c00) == 0x7c00) {  // infinity, or NaN, which becomes quiet
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
// Rounds to float with round-to-odd first, since rounding to nearest twice could give another result.
inline uint16_t to_bf16(double x) {
  const float nearest = float(x);
  auto bits = std::bit_cast<uint32_t>(nearest);
  if (std::isfinite(nearest) && double(nearest) != x) {
    if (std::fabs(double(nearest)) > std::fabs(x)) --bits;
    bits |= 1;
  }
  return to_bf16(std::bit_cast<float>(bits));
}

// Adds a pseudorandom error within NVIDIA's bound (`ulps` units in the last place). No kernel may depend on the last
// bits, which NVIDIA does not specify.
inline float add_error(int ulps, float exact, float argument) {
  if (!std::isfinite(exact) || exact == 0) return exact;
  const uint32_t hash = std::bit_cast<uint32_t>(argument) * 2654435761u;
  const int off = int((hash >> 16) % unsigned(2 * ulps + 1)) - ulps;
  const float result = std::bit_cast<float>(std::bit_cast<uint32_t>(exact) + off);
  if (!std::isfinite(result)) return std::copysign(std::numeric_limits<float>::infinity(), exact);
  return std::fabs(result) < std::numeric_limits<float>::min() ? std::copysign(0.0f, exact) : result;
}
// Emulates ex2.approx.ftz.f32. CUDA's exp and tanh of doubles rely on exact results for integers.
inline float exp2_approx(float x) { return x == std::floor(x) ? std::exp2(x) : add_error(2, std::exp2(x), x); }
inline float reciprocal_approx(float x) { return add_error(1, 1 / x, x); }

}  // namespace emulator
