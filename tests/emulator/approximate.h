// Approximate instructions. Nobody knows their last bits, so they are as wrong as the PTX manual allows: by a hash of
// the argument.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace emulator {

inline float off_by_up_to(int ulps, float exact, float argument) {
  constexpr float kLeast = std::numeric_limits<float>::min();
  if (!std::isfinite(exact) || exact == 0) return exact;
  const uint32_t hash = std::bit_cast<uint32_t>(argument) * 2654435761u;
  const int off = int((hash >> 16) % unsigned(2 * ulps + 1)) - ulps;
  const float result = std::bit_cast<float>(std::bit_cast<uint32_t>(exact) + off);
  if (!(std::fabs(result) <= std::numeric_limits<float>::max()))
    return std::copysign(std::numeric_limits<float>::infinity(), exact);
  return std::fabs(result) < kLeast ? std::copysign(0.0f, exact) : result;
}
// ex2.approx.ftz.f32. Whole powers are exact: CUDA's own exp and tanh of doubles rely on it.
inline float exp2_approx(float x) { return x == std::floor(x) ? std::exp2(x) : off_by_up_to(2, std::exp2(x), x); }
// rcp.approx.ftz.f32
inline float reciprocal_approx(float x) { return off_by_up_to(1, 1 / x, x); }

}  // namespace emulator
