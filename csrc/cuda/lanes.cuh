// Numbers of several cells or units of a thread at once, for ../cell5.h: then the choice of a formula is one branch
// for all of them, and their chains of exponentials and reciprocals overlap.
#pragma once
#include "neighbours.cuh"

namespace pixelrnn::cuda {

template <int N> using Lanes = Neighbours<float, N>;
template <int N> using LaneMask = Neighbours<bool, N>;

template <class R = float, int N, class F> __device__ __forceinline__ Neighbours<R, N> of_each(
    const Lanes<N>& a, const Lanes<N>& b, const F& f) {
  Neighbours<R, N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = f(a.v[i], b.v[i]);
  return all;
}
template <int N> __device__ __forceinline__ Lanes<N> alike(float number) {
  Lanes<N> all;
#pragma unroll
  for (float& v : all.v) v = number;
  return all;
}

#define PIXELRNN_LANES(op, R)                                                                                      \
  template <int N> __device__ __forceinline__ Neighbours<R, N> operator op(const Lanes<N>& a, const Lanes<N>& b) { \
    return of_each<R>(a, b, [](float x, float y) { return x op y; });                                              \
  }                                                                                                                \
  template <int N> __device__ __forceinline__ Neighbours<R, N> operator op(const Lanes<N>& a, float b) {           \
    return a op alike<N>(b);                                                                                       \
  }                                                                                                                \
  template <int N> __device__ __forceinline__ Neighbours<R, N> operator op(float a, const Lanes<N>& b) {           \
    return alike<N>(a) op b;                                                                                       \
  }
PIXELRNN_LANES(+, float)
PIXELRNN_LANES(-, float)
PIXELRNN_LANES(*, float)
PIXELRNN_LANES(>=, bool)
PIXELRNN_LANES(<=, bool)
#undef PIXELRNN_LANES
template <int N> __device__ __forceinline__ void operator+=(Lanes<N>& a, const Lanes<N>& b) { a = a + b; }

template <int N> __device__ __forceinline__ Lanes<N> select(
    const LaneMask<N>& mask, const Lanes<N>& yes, const Lanes<N>& no) {
  Lanes<N> all;
#pragma unroll
  for (int i = 0; i < N; ++i) all.v[i] = mask.v[i] ? yes.v[i] : no.v[i];
  return all;
}

// The functions of Math for each.
template <class Math> struct LanesMath {
  template <int N> static __device__ __forceinline__ Lanes<N> sigmoid(const Lanes<N>& x) {
    return of_each(x, x, [](float v, float) { return Math::sigmoid(v); });
  }
  template <int N> static __device__ __forceinline__ Lanes<N> tanh(const Lanes<N>& x) {
    return of_each(x, x, [](float v, float) { return Math::tanh(v); });
  }
  template <int N> static __device__ __forceinline__ Lanes<N> clamp(const Lanes<N>& x, float most) {
    return of_each(x, alike<N>(most), [](float v, float limit) { return Math::clamp(v, limit); });
  }
};

}  // namespace pixelrnn::cuda
