// The 16-bit formats of feature maps and weights, and the types that kernels for a format T compute with. Sums, c, and
// gradients of c are Sum<T>. Activated gates are stored as Gate<T>. For float and double, both are T.
//
// Functions are always inlined, because the linker would keep one copy of a function for all instruction sets.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace pixelrnn::cpu {

template <class To, class From> inline __attribute__((always_inline)) To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// A number in bfloat16, the upper half of a float. Conversion from float rounds to nearest even. Like the instruction
// VCVTNEPS2BF16, it treats denormal numbers as zero.
struct Bf16 {
  uint16_t bits = 0;

  constexpr Bf16() = default;
  explicit __attribute__((always_inline)) Bf16(float x) {
    const auto u = bits_as<uint32_t>(x);
    const uint32_t exponent = u & 0x7f800000;
    bits = exponent == 0 ? (u >> 16) & 0x8000 : x != x ? (u >> 16) | 0x40 : (u + 0x7fff + (u >> 16 & 1)) >> 16;
  }
  __attribute__((always_inline)) operator float() const { return bits_as<float>(uint32_t(bits) << 16); }
};

// A number in float16. Conversion from float rounds to nearest even. Both conversions are those of the FP16 library by
// Marat Dukhan (MIT licence, github.com/Maratyszcza/FP16).
struct Half {
  uint16_t bits = 0;

  constexpr Half() = default;
  // Adds a power of two that is so large that the sum in float has as many bits as the result in float16.
  explicit __attribute__((always_inline)) Half(float x) {
    const auto u = bits_as<uint32_t>(x);
    const uint32_t sign = u >> 16 & 0x8000, twice = u << 1;
    if (twice > 0xff000000) {  // NaN
      bits = sign | 0x7e00;
      return;
    }
    const float base = bits_as<float>(u & 0x7fffffff) * 0x1p+112f * 0x1p-110f;
    const uint32_t exponent = twice & 0xff000000, bias = exponent < 0x71000000 ? 0x71000000 : exponent;
    const auto sum = bits_as<uint32_t>(bits_as<float>((bias >> 1) + 0x07800000) + base);
    bits = sign | ((sum >> 13 & 0x7c00) + (sum & 0x0fff));
  }
  __attribute__((always_inline)) operator float() const {
    const uint32_t u = uint32_t(bits) << 16, twice = u + u;
    const float normal = bits_as<float>((twice >> 4) + 0x70000000) * 0x1p-112f;
    const float denormal = bits_as<float>((twice >> 17) | 0x3f000000) - 0.5f;
    return bits_as<float>((u & 0x80000000) | bits_as<uint32_t>(twice < 0x08000000 ? denormal : normal));
  }
};

template <class T> struct Format {
  using Sum = T;
  using Gate = T;
  static constexpr int kDepth = 1;
  static constexpr T one = 1;
};
template <> struct Format<Half> { using Sum = float; };
// Activated gates lie in [-1, 1], where float16 is more precise than bfloat16.
template <> struct Format<Bf16> {
  using Sum = float;
  using Gate = Half;
  static constexpr int kDepth = 2;
  static constexpr Bf16 one = [] {
    Bf16 one;
    one.bits = 0x3f80;
    return one;
  }();
};
template <class T> using Sum = typename Format<T>::Sum;
template <class T> using Gate = typename Format<T>::Gate;

// The number of channels that one lane of a product multiplies and adds. Packed weights are in groups of kDepth<T>
// channels, [group][output][kDepth<T>]. Each tap begins with a new group, and the weights of missing channels are zero.
template <class T> constexpr int kDepth = Format<T>::kDepth;
template <class T> __attribute__((always_inline)) constexpr int64_t padded_channels(int64_t n) {
  return (n + kDepth<T> - 1) / kDepth<T> * kDepth<T>;
}
template <class T> __attribute__((always_inline)) inline int64_t packed_depth(int taps, const int* channels) {
  int64_t depth = 0;
  for (int k = 0; k < taps; ++k) depth += padded_channels<T>(channels[k]);
  return depth;
}
// Returns n, rounded up to a multiple of `step`.
__attribute__((always_inline)) constexpr int64_t padded(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}
template <class T>
__attribute__((always_inline)) constexpr int64_t packed_index(int64_t channel, int64_t output, int64_t outputs) {
  return channel / kDepth<T> * kDepth<T> * outputs + output * kDepth<T> + channel % kDepth<T>;
}

}  // namespace pixelrnn::cpu
