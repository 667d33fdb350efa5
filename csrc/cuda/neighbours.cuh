// Neighbouring values, in one access. What waits in registers stays Whole: the compiler would take values of 16 bits
// apart where they are loaded, and wait for the load.
#pragma once
#include "format.cuh"

namespace pixelrnn::cuda {

template <class T, int N> struct Neighbours { T v[N]; };
template <int BYTES> struct WholeOf;
template <> struct WholeOf<2> { using type = uint16_t; };
template <> struct WholeOf<4> { using type = uint32_t; };
template <> struct WholeOf<8> { using type = uint2; };
template <> struct WholeOf<16> { using type = uint4; };
template <class T> using Whole = typename WholeOf<int(sizeof(T))>::type;

template <class T> __device__ __forceinline__ Whole<T>* whole(void* values) { return static_cast<Whole<T>*>(values); }
template <class T> __device__ __forceinline__ const Whole<T>* whole(const void* values) {
  return static_cast<const Whole<T>*>(values);
}

}  // namespace pixelrnn::cuda
