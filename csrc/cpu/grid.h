// The grid of the codec (docs/compression.md): activations are float64 multiples of 2^-14 in [-256, 256]. All sums and
// products of a layer are exact, so that order, threads, instruction set and FMA change no bit.
#pragma once
#include <cfloat>
#include <cstdint>

namespace pixelrnn::cpu {

#if defined(__FAST_MATH__)
#error "-ffast-math deletes the rounding to the grid: the codec's files would not decode"
#endif
static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16, "expected double to be computed as double");

constexpr double kGridMagic = 1.5 * (int64_t(1) << 38);  // adding and subtracting it rounds to the grid
constexpr double kGridLimit = 256;

}  // namespace pixelrnn::cpu
