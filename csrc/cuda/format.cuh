// What the kernels do differently for bf16, fp16, tf32 and strict fp32: the types of maps and lines, conversions, the product.
#pragma once
#include "convert.cuh"
#include "primitives.cuh"
#include "tiling.h"

namespace pixelrnn::cuda {

template <class To, class From> __device__ __forceinline__ To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class T> struct alignas(8) FourHalves {
  uint32_t v[2];  // whole registers: four 16-bit ones the compiler takes apart where they are loaded, and waits for the load
};
template <class T> __device__ __forceinline__ float4 widen_four(const FourHalves<T>& f) {
  auto at = [&](int i) { return widen(bits<T>(uint16_t(f.v[i / 2] >> 16 * (i % 2)))); };
  return make_float4(at(0), at(1), at(2), at(3));
}
template <class T> __device__ __forceinline__ FourHalves<T> narrow_four(float4 f) {
  auto one = [](float v) { return uint32_t(bits<uint16_t>(narrow<T>(v))); };
  return {{one(f.x) | one(f.y) << 16, one(f.z) | one(f.w) << 16}};
}

template <Format> struct Traits;

template <class T> struct HalfTraits {
  static constexpr bool kFma = false;
  using Value = T;
  using Four = FourHalves<T>;            // the gates of a unit
  using ActiveFour = FourHalves<__half>; // activated: all in (-1, 1), where fp16 is the more precise half
  static __device__ __forceinline__ float widen(Value v) { return cuda::widen(v); }
  static __device__ __forceinline__ Value narrow(float v) { return cuda::narrow<T>(v); }
  static __device__ __forceinline__ float4 widen(Four v) { return widen_four(v); }
  static __device__ __forceinline__ Four narrow(float4 v) { return narrow_four<T>(v); }
  static __device__ __forceinline__ float4 widen_active(ActiveFour v) { return widen_four(v); }
  static __device__ __forceinline__ ActiveFour narrow_active(float4 v) { return narrow_four<__half>(v); }
  static __device__ __forceinline__ Value line_value(Value v) { return v; }
  static __device__ __forceinline__ Four line_value(Four v) { return v; }
  static __device__ __forceinline__ Value weight(Value v) { return v; }
};
template <> struct Traits<Format::bf16> : HalfTraits<__nv_bfloat16> {
  static __device__ __forceinline__ void mma(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { primitive::mma_bf16(d, a, b0, b1); }
};
template <> struct Traits<Format::fp16> : HalfTraits<__half> {
  static __device__ __forceinline__ void mma(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { primitive::mma_fp16(d, a, b0, b1); }
};

template <> struct Traits<Format::fp32> {
  static constexpr bool kFma = true;
  using Value = float;
  using Four = float4;
  using ActiveFour = float4;
  static __device__ __forceinline__ float widen(float v) { return v; }
  static __device__ __forceinline__ float narrow(float v) { return v; }
  static __device__ __forceinline__ float4 widen(float4 v) { return v; }
  static __device__ __forceinline__ float4 narrow(float4 v) { return v; }
  static __device__ __forceinline__ float4 widen_active(float4 v) { return v; }
  static __device__ __forceinline__ float4 narrow_active(float4 v) { return v; }
  static __device__ __forceinline__ float line_value(float v) { return v; }
  static __device__ __forceinline__ float4 line_value(float4 v) { return v; }
  static __device__ __forceinline__ float weight(float v) { return v; }
};
// Values are rounded once: weights when they are packed, the others when they enter the line.
template <> struct Traits<Format::tf32> : Traits<Format::fp32> {
  static constexpr bool kFma = false;
  static __device__ __forceinline__ float line_value(float v) { return primitive::round_tf32(v); }
  static __device__ __forceinline__ float4 line_value(float4 v) {
    return make_float4(line_value(v.x), line_value(v.y), line_value(v.z), line_value(v.w));
  }
  static __device__ __forceinline__ float weight(float v) { return primitive::round_tf32(v); }
  static __device__ __forceinline__ void mma(float (&d)[4], uint4 a, uint32_t b0, uint32_t b1) { primitive::mma_tf32(d, a, b0, b1); }
};

}  // namespace pixelrnn::cuda
