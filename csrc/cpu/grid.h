// The codec rounds activations to a grid, the multiples of 2^-14 in [-256, 256], in float64 (docs/compression.md). On
// the grid, all sums and products of a layer are exact. So the order of additions, the number of threads, the
// instruction set and fused multiply-adds change no bit.
#pragma once
#include <cfloat>
#include <cstdint>

namespace pixelrnn::cpu {

#if defined(__FAST_MATH__)
#error "-ffast-math deletes the rounding to the grid: the codec's files would not decode"
#endif
static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16, "expected double to be computed as double");

// Adding kGridMagic and subtracting it again rounds a number to a multiple of 2^-14.
constexpr double kGridMagic = 1.5 * (int64_t(1) << 38);
constexpr double kGridLimit = 256;

}  // namespace pixelrnn::cpu
