// Products of bfloat16 numbers, two at a time. A lane of a vector of Pairs holds two numbers, the first of them in its
// lower half.
#pragma once
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

using Pairs = Simd<float>::I;

INLINE Pairs load_pairs(const Bf16* p) {
  Pairs pairs;
  __builtin_memcpy(&pairs, static_cast<const void*>(p), sizeof pairs);
  return pairs;
}
INLINE void store_pairs(Bf16* p, Pairs pairs) { __builtin_memcpy(static_cast<void*>(p), &pairs, sizeof pairs); }

// Returns a vector whose lanes all hold the first `count` numbers at p, where count is 1 or 2. A second number that is
// missing is zero.
template <int count> INLINE Pairs broadcast_pair(const Bf16* p) {
  uint32_t pair = 0;
  __builtin_memcpy(&pair, static_cast<const void*>(p), count * sizeof(Bf16));
  return int(pair) - Pairs{};
}

// The emulated instructions treat denormal numbers as zero. These functions return the first or second numbers of pairs
// as vectors of float.
INLINE Vec<float> flushed(Vec<float> v) {
  const auto x = (Pairs)v;
  return (Vec<float>)((x & 0x7f800000) != 0 ? x : x & int(0x80000000));
}
INLINE Vec<float> first_numbers(Pairs x) { return flushed((Vec<float>)(x << 16)); }
INLINE Vec<float> second_numbers(Pairs x) { return flushed((Vec<float>)(x & int(0xffff0000))); }

#if defined(PIXELRNN_BF16)
// Returns the first n < 32 numbers at p, and zeros.
INLINE Pairs load_pairs(const Bf16* p, int64_t n) { return (Pairs)_mm512_maskz_loadu_epi16((1u << n) - 1, p); }
// Returns the pairs (a[i], b[i]) for i < n <= 16, and zero in the other lanes. b may be null, which means zeros.
INLINE Pairs zip(const Bf16* a, const Bf16* b, int64_t n) {
  const auto numbers = [&](const Bf16* p) __attribute__((always_inline)) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(n), p));
  };
  const __m512i low = numbers(a);
  return (Pairs)(b ? _mm512_or_si512(low, _mm512_slli_epi32(numbers(b), 16)) : low);
}
INLINE Vec<float> add_products(Vec<float> sum, Pairs a, Pairs b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
#else
INLINE Pairs load_pairs(const Bf16* p, int64_t n) {
  Bf16 numbers[2 * lanes<Bf16>] = {};
  for (int64_t i = 0; i < n; ++i) numbers[i] = p[i];
  return load_pairs(numbers);
}
INLINE Pairs zip(const Bf16* a, const Bf16* b, int64_t n) {
  Pairs pairs{};
  for (int64_t i = 0; i < n && i < lanes<Bf16>; ++i)
    pairs[i] = int(uint32_t(a[i].bits) | (b ? uint32_t(b[i].bits) << 16 : 0));
  return pairs;
}
// Computes what the instruction VDPBF16PS computes: it adds the product of the second numbers first, and rounds after
// each addition.
INLINE Vec<float> add_products(Vec<float> sum, Pairs a, Pairs b) {
  sum = flushed(multiply_add(second_numbers(a), second_numbers(b), flushed(sum)));
  return flushed(multiply_add(first_numbers(a), first_numbers(b), sum));
}
#endif

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
