// Small vectors: neighbouring values for one memory access, and the numbers of several cells or units of a thread.
#pragma once
#include "format.cuh"

namespace pixelrnn::cuda {

// The unsigned type of a loaded vector. The compiler unpacks a vector of 16-bit values at once, and so waits for the
// load.
template <class T, int N> struct Neighbours { T v[N]; };
template <int BYTES> struct WholeOf;
template <> struct WholeOf<2> { using type = uint16_t; };
template <> struct WholeOf<4> { using type = uint32_t; };
template <> struct WholeOf<8> { using type = uint2; };
template <> struct WholeOf<16> { using type = uint4; };
template <class T> using Whole = typename WholeOf<int(sizeof(T))>::type;

template <class T> PIXELRNN_DEVICE Whole<T>* whole(void* values) { return static_cast<Whole<T>*>(values); }
template <class T> PIXELRNN_DEVICE const Whole<T>* whole(const void* values) {
  return static_cast<const Whole<T>*>(values);
}

// Vectors for ../cell5.h: one branch chooses the formula for all elements, and their chains of exponentials overlap.
template <int N> using Lanes = Neighbours<float, N>;
template <int N> using LaneMask = Neighbours<bool, N>;

// Applies f to each pair of elements.
template <class R = float, int N, class F> PIXELRNN_DEVICE Neighbours<R, N> of_each(
    const Lanes<N>& a, const Lanes<N>& b, const F& f) {
  Neighbours<R, N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = f(a.v[i], b.v[i]);
  return all;
}
template <int N> PIXELRNN_DEVICE Lanes<N> alike(float number) {
  Lanes<N> all;
#pragma unroll
  for (float& v : all.v) v = number;
  return all;
}

#define PIXELRNN_LANES(op, R)                                                                           \
  template <int N> PIXELRNN_DEVICE Neighbours<R, N> operator op(const Lanes<N>& a, const Lanes<N>& b) { \
    return of_each<R>(a, b, [](float x, float y) { return x op y; });                                   \
  }                                                                                                     \
  template <int N> PIXELRNN_DEVICE Neighbours<R, N> operator op(const Lanes<N>& a, float b) {           \
    return a op alike<N>(b);                                                                            \
  }                                                                                                     \
  template <int N> PIXELRNN_DEVICE Neighbours<R, N> operator op(float a, const Lanes<N>& b) { return alike<N>(a) op b; }
PIXELRNN_LANES(+, float)
PIXELRNN_LANES(-, float)
PIXELRNN_LANES(*, float)
PIXELRNN_LANES(>=, bool)
PIXELRNN_LANES(<=, bool)
#undef PIXELRNN_LANES
template <int N> PIXELRNN_DEVICE void operator+=(Lanes<N>& a, const Lanes<N>& b) { a = a + b; }

template <int N> PIXELRNN_DEVICE Lanes<N> select(const LaneMask<N>& mask, const Lanes<N>& yes, const Lanes<N>& no) {
  Lanes<N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = mask.v[i] ? yes.v[i] : no.v[i];
  return all;
}

// Applies the functions of Math to each element.
template <class Math> struct LanesMath {
  template <int N> static PIXELRNN_DEVICE Lanes<N> sigmoid(const Lanes<N>& x) {
    return of_each(x, x, [](float v, float) { return Math::sigmoid(v); });
  }
  template <int N> static PIXELRNN_DEVICE Lanes<N> tanh(const Lanes<N>& x) {
    return of_each(x, x, [](float v, float) { return Math::tanh(v); });
  }
  template <int N> static PIXELRNN_DEVICE Lanes<N> clamp(const Lanes<N>& x, float most) {
    return of_each(x, alike<N>(most), [](float v, float limit) { return Math::clamp(v, limit); });
  }
};

}  // namespace pixelrnn::cuda
