#pragma once
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// Implements LikelihoodKernels (kernels.h). If the levels are not a multiple of the lanes, the last vector of a row
// ends at the end of the row and overlaps the previous vector.
template <class T> struct LikelihoodTiles {
  using V = Vec<T>;
  using S = Sum<T>;
  static constexpr int64_t L = lanes<T>;
  static_assert(L <= kMinLevels);

  // Computes e^x for x <= 0. A result below e^-exp_limit is zero.
  static INLINE V exp(V x) {
    constexpr S limit = Simd<T>::exp_limit;
    V s, q;
    VectorMath<S>::exp_parts(max(V{} - limit, x), s, q);
    return x < -limit ? V{} : s * q + s;
  }
  // Computes e^(x - top) for a vector of logits, none of which is above `top`.
  static INLINE V exp_below(S top, const T* logits) { return exp(load(logits) - top); }

  // Combines the lanes of N vectors pairwise, as if they were one vector.
  template <int N, class F> static INLINE S reduce(const V* v, const F& combine) {
    if constexpr (N > 1) {
      return combine(reduce<N / 2>(v, combine), reduce<N / 2>(v + N / 2, combine));
    } else {
      using Lanes = Shuffle<S>;
      V lanes = *v;
      UNROLL for (int n = 1; n < L; n *= 2) lanes = combine(Lanes::even(lanes, lanes), Lanes::odd(lanes, lanes));
      return lanes[0];
    }
  }
  // Replaces the first n lanes by zero.
  static INLINE V without_first(V v, int64_t n) {
    typename Simd<T>::I lane;
    UNROLL for (int i = 0; i < L; ++i) lane[i] = i;
    return lane < typename Simd<T>::I{} + decltype(lane[0] + 0)(n) ? V{} : v;
  }

  // Adds the exponentials in the order of vectors of 64 bytes on every instruction set. So AVX2, AVX-512 and NEON give
  // the same bits.
  static void normalise(int64_t rows, int64_t levels, const T* logits, S* normaliser) {
    constexpr int kVectors = 64 / PIXELRNN_VECTOR_BYTES, kLanes = kVectors * L;
    static_assert(kLanes <= kMinLevels);
    const int64_t last = levels - L, last_lanes = levels - kLanes;
    for (int64_t row = 0; row < rows; ++row, logits += levels, normaliser += 2) {
      V highest = load(logits + last), totals[kVectors]{};
      for (int64_t i = 0; i < last; i += L) highest = max(highest, load(logits + i));
      const S top = reduce<1>(&highest, [](V a, V b) { return max(a, b); });
      int64_t i = 0;
      for (; i <= last_lanes; i += kLanes)
        UNROLL for (int n = 0; n < kVectors; ++n) totals[n] += exp_below(top, logits + i + n * L);
      if (i < levels) {
        UNROLL for (int n = 0; n < kVectors; ++n) {
          const int64_t k = last_lanes + n * L;
          totals[n] += without_first(exp_below(top, logits + k), i - k);
        }
      }
      normaliser[0] = top;
      normaliser[1] = reduce<kVectors>(totals, [](auto a, auto b) { return a + b; });
    }
  }

  static void gradient(int64_t rows, int64_t levels, const T* logits, const int64_t* values, const S* normaliser,
      const S* dlog_prob, T* dlogits) {
    const int64_t last = levels - L;
    for (int64_t row = 0; row < rows; ++row, logits += levels, dlogits += levels, normaliser += 2) {
      const S top = normaliser[0], scale = -dlog_prob[row] / normaliser[1];
      const auto others = [&](int64_t i) __attribute__((always_inline)) { return exp_below(top, logits + i) * scale; };
      for (int64_t i = 0; i < last; i += L) store(dlogits + i, others(i));
      store(dlogits + last, others(last));
      // Computes the vector with the value's own level again, because the stored one has been rounded to T.
      const int64_t value = values[row], i = value < last ? value : last;
      V own = others(i);
      own[value - i] += dlog_prob[row];
      store(dlogits + i, own);
    }
  }

  static constexpr LikelihoodKernels<T> kernels{normalise, gradient};
};

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
