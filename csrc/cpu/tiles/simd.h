#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <utility>

#include "../../cell.h"
#include "../formats.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define ROLL _Pragma("GCC unroll 1")
#define VECTOR vector_size(PIXELRNN_VECTOR_BYTES)

// exp splits x into n * ln2 + r, with an integer n. n * ln2_hi is exact, and ln2_lo is the rest of ln2. Adding `magic`
// to a number rounds it to an integer.
template <class T> struct Simd;

template <> struct Simd<float> {
  typedef float V __attribute__((VECTOR));
  typedef float Unaligned __attribute__((VECTOR, aligned(4), may_alias));
  typedef int I __attribute__((VECTOR));
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr float magic = 12582912.f, log2e = 1.44269504088896341f;
  static constexpr float ln2_hi = 0.693145751953125f, ln2_lo = 1.42860682030941723e-6f;
  static constexpr float exp_limit = 87.3f, tanh_limit = 20.f;
  static INLINE V tail(V r) {  // minimax polynomial for (e^r - 1 - r) / r^2, where |r| <= ln2 / 2
    V p = 1.3926183588e-3f * r + 8.3631790527e-3f;
    p = p * r + 4.1666554617e-2f;
    p = p * r + 1.6666576989e-1f;
    return p * r + 0.5f;
  }
};

template <> struct Simd<double> {
  typedef double V __attribute__((VECTOR));
  typedef double Unaligned __attribute__((VECTOR, aligned(8), may_alias));
  typedef long long I __attribute__((VECTOR));
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr double magic = 6755399441055744., log2e = 1.44269504088896338700;
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
  static constexpr double exp_limit = 708., tanh_limit = 40.;
  static INLINE V tail(V r) {  // Taylor polynomial of (e^r - 1 - r) / r^2
    V p = 1.6059043836821613e-10 * r + 2.0876756987868099e-09;
    p = p * r + 2.5052108385441719e-08;
    p = p * r + 2.7557319223985891e-07;
    p = p * r + 2.7557319223985891e-06;
    p = p * r + 2.4801587301587302e-05;
    p = p * r + 1.9841269841269841e-04;
    p = p * r + 1.3888888888888889e-03;
    p = p * r + 8.3333333333333333e-03;
    p = p * r + 4.1666666666666667e-02;
    p = p * r + 1.6666666666666667e-01;
    return p * r + 0.5;
  }
};

// Tiles of 16-bit formats compute with vectors of float.
template <> struct Simd<Bf16> : Simd<float> {};
template <> struct Simd<Half> : Simd<float> {};

template <class T> using Vec = typename Simd<T>::V;
template <class T> constexpr int lanes = PIXELRNN_VECTOR_BYTES / sizeof(Sum<T>);
template <class T> constexpr bool is_converted = !std::is_same_v<T, Sum<T>>;

// Loads or stores the first n numbers of a 16-bit format, at most lanes<T>. load_converted() sets the other lanes to
// zero.
#if defined(PIXELRNN_BF16)
INLINE __mmask16 first_lanes(int64_t n) { return __mmask16(n >= 16 ? 0xffff : n > 0 ? (1 << n) - 1 : 0); }
template <class T> INLINE Vec<T> load_converted(const T* p, int64_t n) {
  const __m256i bits = _mm256_maskz_loadu_epi16(first_lanes(n), p);
  if constexpr (std::is_same_v<T, Half>) return _mm512_cvtph_ps(bits);
  else return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
template <class T> INLINE void store_converted(T* p, Vec<T> v, int64_t n) {
  __m256i bits;
  if constexpr (std::is_same_v<T, Half>) bits = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
  else bits = (__m256i)_mm512_cvtneps_pbh(v);
  _mm256_mask_storeu_epi16(p, first_lanes(n), bits);
}
#else
template <class T> INLINE Vec<T> load_converted(const T* p, int64_t n) {
  Vec<T> v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T> INLINE void store_converted(T* p, Vec<T> v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = T(v[i]);
}
#endif

template <class T> INLINE Vec<T> load(const T* p) {
  if constexpr (is_converted<T>) return load_converted(p, lanes<T>);
  else return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}
template <class T> INLINE void store(T* p, Vec<T> v) {
  if constexpr (is_converted<T>) store_converted(p, v, lanes<T>);
  else *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}
template <class T> INLINE Vec<T> broadcast(T value) { return value - Vec<T>{}; }
// The overloads of load() and store() with a parameter n access only the first n lanes of a vector. load() sets the
// other lanes to zero.
template <class T> INLINE Vec<T> load(const T* p, int64_t n) {
  if (n >= lanes<T>) return load(p);
  if constexpr (is_converted<T>) return load_converted(p, n);
  Vec<T> v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T> INLINE void store(T* p, Vec<T> v, int64_t n) {
  if (n >= lanes<T>) return store(p, v);
  if constexpr (is_converted<T>) return store_converted(p, v, n);
  for (int64_t i = 0; i < n; ++i) p[i] = T(v[i]);
}
// Prefetches into the L2 cache, because more cache misses can be in flight than for L1.
template <int bytes> INLINE void prefetch(const void* p) {
  UNROLL for (int i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i, 0, 2);
}

// multiply_add is an intrinsic, because compilers would fuse a plain a * b + c in some tiles only, and tiles would then
// round differently. min(a, b) and max(a, b) return b if b is NaN.
#define OPERATIONS(T, MIN, MAX, MULTIPLY_ADD)           \
  INLINE Vec<T> min(Vec<T> a, Vec<T> b) { return MIN; } \
  INLINE Vec<T> max(Vec<T> a, Vec<T> b) { return MAX; } \
  INLINE Vec<T> multiply_add(Vec<T> a, Vec<T> b, Vec<T> c) { return MULTIPLY_ADD; }
#define FUSED(T, mm, t) OPERATIONS(T, mm##_min_##t(a, b), mm##_max_##t(a, b), mm##_fmadd_##t(a, b, c))
#if PIXELRNN_VECTOR_BYTES == 64 && !defined(PIXELRNN_AVX512_ON_AVX2)
FUSED(float, _mm512, ps)
FUSED(double, _mm512, pd)
#elif PIXELRNN_VECTOR_BYTES == 32
FUSED(float, _mm256, ps)
FUSED(double, _mm256, pd)
#elif PIXELRNN_VECTOR_BYTES == 16 && defined(__x86_64__)
OPERATIONS(float, _mm_min_ps(a, b), _mm_max_ps(a, b), (a * b + c))
OPERATIONS(double, _mm_min_pd(a, b), _mm_max_pd(a, b), (a * b + c))
#elif PIXELRNN_VECTOR_BYTES == 16 && defined(__aarch64__)
OPERATIONS(float, vminq_f32(a, b), vmaxq_f32(a, b), vfmaq_f32(c, a, b))
OPERATIONS(double, vminq_f64(a, b), vmaxq_f64(a, b), vfmaq_f64(c, a, b))
#else
OPERATIONS(float, (a < b ? a : b), (a > b ? a : b), (a * b + c))
OPERATIONS(double, (a < b ? a : b), (a > b ? a : b), (a * b + c))
#endif
#undef FUSED
#undef VECTOR
#undef OPERATIONS

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (typename Simd<T>::I){__VA_ARGS__})
#endif
template <class T, class = std::make_integer_sequence<int, lanes<T>>> struct Shuffle;
template <class T, int... i> struct Shuffle<T, std::integer_sequence<int, i...>> {
  static constexpr int half = sizeof...(i) / 2, n = sizeof...(i);
  static INLINE Vec<T> even(Vec<T> a, Vec<T> b) { return SHUFFLE(a, b, (2 * i)...); }
  static INLINE Vec<T> odd(Vec<T> a, Vec<T> b) { return SHUFFLE(a, b, (2 * i + 1)...); }
  static INLINE Vec<T> low(Vec<T> a, Vec<T> b) { return SHUFFLE(a, b, (i / 2 + i % 2 * n)...); }
  static INLINE Vec<T> high(Vec<T> a, Vec<T> b) { return SHUFFLE(a, b, (i / 2 + half + i % 2 * n)...); }
};
#undef SHUFFLE

// Loads or stores the gates [units][4] of n hidden units, as one vector for each gate.
template <class T> INLINE Gates<Vec<T>> load_gates(const T* p, int64_t n) {
  constexpr int L = lanes<T>;
  using S = Shuffle<Sum<T>>;
  Vec<T> m[4];
  UNROLL for (int k = 0; k < 4; ++k) m[k] = n >= L ? load(p + k * L) : load(p + k * L, 4 * n - k * L);
  const Vec<T> a = S::even(m[0], m[1]), b = S::odd(m[0], m[1]), c = S::even(m[2], m[3]), d = S::odd(m[2], m[3]);
  return {S::even(a, c), S::even(b, d), S::odd(a, c), S::odd(b, d)};
}
template <class T> INLINE void store_gates(T* p, int64_t n, const Gates<Vec<T>>& z) {
  constexpr int L = lanes<T>;
  using S = Shuffle<Sum<T>>;
  const Vec<T> a = S::low(z.i, z.g), b = S::high(z.i, z.g), c = S::low(z.f, z.o), d = S::high(z.f, z.o);
  const Vec<T> m[4] = {S::low(a, c), S::high(a, c), S::low(b, d), S::high(b, d)};
  UNROLL for (int k = 0; k < 4; ++k) n >= L ? store(p + k * L, m[k]) : store(p + k * L, m[k], 4 * n - k * L);
}

// sigmoid and tanh saturate for large arguments, and return NaN for NaN.
template <class T> struct VectorMath {
  using S = Simd<T>;
  using V = Vec<T>;
  static INLINE V clamp(V x, T limit) { return min(V{} + limit, max(V{} - limit, x)); }
  static INLINE void exp_parts(V x, V& s, V& q) {  // computes e^x as s * (1 + q), where s is a power of two
    const V t = x * S::log2e + S::magic;
    const V n = t - S::magic;
    V r = x - n * S::ln2_hi;
    r = r - n * S::ln2_lo;
    q = S::tail(r) * (r * r) + r;
    s = (V)(((typename S::I)t + S::bias) << S::mantissa_bits);
  }
  static INLINE V sigmoid(V x) {
    V s, q;
    exp_parts(clamp(-x, S::exp_limit), s, q);
    return T(1) / ((s * q + s) + T(1));
  }
  static INLINE V tanh(V x) {  // computed from e^(2x) - 1, so that results near 0 are accurate
    V s, q;
    exp_parts(clamp(x + x, S::tanh_limit), s, q);
    const V e = s * q + (s - T(1));
    return e / (e + T(2));
  }
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
