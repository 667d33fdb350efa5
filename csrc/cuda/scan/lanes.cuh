// Vectors of numbers that one thread computes together. The elements of a vector are neighbours in memory, or belong to
// several cells or hidden units.
#pragma once
#include "format.cuh"

namespace pixelrnn::cuda {

// Bits<T> is an integer type as large as the vector T. Loaded values keep this type until their use, because the
// compiler would unpack a vector right after the load, and wait for memory.
template <class T, int N> struct Vector { T v[N]; };
template <int BYTES> struct BitsOfSize;
template <> struct BitsOfSize<2> { using type = uint16_t; };
template <> struct BitsOfSize<4> { using type = uint32_t; };
template <> struct BitsOfSize<8> { using type = uint2; };
template <> struct BitsOfSize<16> { using type = uint4; };
template <class T> using Bits = typename BitsOfSize<int(sizeof(T))>::type;

template <class T> PIXELRNN_DEVICE Bits<T> to_bits(const T& values) { return bit_cast<Bits<T>>(values); }
template <class T> PIXELRNN_DEVICE Bits<T>* as_bits(void* values) { return static_cast<Bits<T>*>(values); }
template <class T> PIXELRNN_DEVICE const Bits<T>* as_bits(const void* values) {
  return static_cast<const Bits<T>*>(values);
}

// The formulas of ../../cell5.h branch once for a whole vector, so that its exponentials overlap.
template <int N> using FloatN = Vector<float, N>;
template <int N> using BoolN = Vector<bool, N>;

template <class R = float, int N, class F> PIXELRNN_DEVICE Vector<R, N> elementwise(
    const FloatN<N>& a, const FloatN<N>& b, const F& f) {
  Vector<R, N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = f(a.v[i], b.v[i]);
  return all;
}
template <int N> PIXELRNN_DEVICE FloatN<N> broadcast(float number) {
  FloatN<N> all;
#pragma unroll
  for (float& v : all.v) v = number;
  return all;
}

#define PIXELRNN_OPERATOR(op, R)                                                                      \
  template <int N> PIXELRNN_DEVICE Vector<R, N> operator op(const FloatN<N>& a, const FloatN<N>& b) { \
    return elementwise<R>(a, b, [](float x, float y) { return x op y; });                             \
  }                                                                                                   \
  template <int N> PIXELRNN_DEVICE Vector<R, N> operator op(const FloatN<N>& a, float b) {            \
    return a op broadcast<N>(b);                                                                      \
  }                                                                                                   \
  template <int N> PIXELRNN_DEVICE Vector<R, N> operator op(float a, const FloatN<N>& b) {            \
    return broadcast<N>(a) op b;                                                                      \
  }
PIXELRNN_OPERATOR(+, float)
PIXELRNN_OPERATOR(-, float)
PIXELRNN_OPERATOR(*, float)
PIXELRNN_OPERATOR(>=, bool)
PIXELRNN_OPERATOR(<=, bool)
#undef PIXELRNN_OPERATOR
template <int N> PIXELRNN_DEVICE void operator+=(FloatN<N>& a, const FloatN<N>& b) { a = a + b; }

template <int N> PIXELRNN_DEVICE FloatN<N> select(const BoolN<N>& mask, const FloatN<N>& yes, const FloatN<N>& no) {
  FloatN<N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = mask.v[i] ? yes.v[i] : no.v[i];
  return all;
}

template <class Math> struct VectorMath {
  template <int N> static PIXELRNN_DEVICE FloatN<N> sigmoid(const FloatN<N>& x) {
    return elementwise(x, x, [](float v, float) { return Math::sigmoid(v); });
  }
  template <int N> static PIXELRNN_DEVICE FloatN<N> tanh(const FloatN<N>& x) {
    return elementwise(x, x, [](float v, float) { return Math::tanh(v); });
  }
  template <int N> static PIXELRNN_DEVICE FloatN<N> clamp(const FloatN<N>& x, float limit) {
    return elementwise(x, broadcast<N>(limit), [](float v, float bound) { return Math::clamp(v, bound); });
  }
};

}  // namespace pixelrnn::cuda
