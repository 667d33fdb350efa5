// Rounding of numbers in place (../rounding.h).
#pragma once
#include "../grid.h"
#include "simd.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

// `integral`: the power of two from which on every number is a multiple of the grid's unit. A number below it gets its
// nearest multiple, ties to even, from a sum with `integral` of its own sign.
template <class T> void round(T* x, int64_t n, T integral, T limit) {
  using Integer = typename Simd<T>::I;
  const Integer sign = (Integer)(-Vec<T>{});
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const Vec<T> y = load(x + i, n - i), size = (Vec<T>)((Integer)y & ~sign);
    const Vec<T> large = (Vec<T>)((Integer)broadcast<T>(integral) | ((Integer)y & sign));
    const Vec<T> rounded = size < integral ? (y + large) - large : y;
    store(x + i, VectorMath<T>::clamp(rounded, limit), n - i);
  }
}

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
