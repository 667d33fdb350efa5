// Functions of an emulated kernel, which g++ also compiles to get the expected results. They call no C function that
// rounds inexactly, because CUDA's result may differ.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define BOTH __device__ __forceinline__
#else
#include <algorithm>
#define BOTH inline
using std::max;
using std::min;
#endif

constexpr int kIntegers = 36, kFloats = 21;

BOTH void integers_of(const uint32_t* in, uint64_t* o) {
  const uint32_t a = in[0], b = in[1], c = in[2], odd = b | 1;
  const int32_t sa = a, sb = b, small = (sb >> 8) | 1;
  const uint64_t w = uint64_t(a) << 32 | b;
  const int64_t sw = w;
  auto put = [&](uint64_t v) { *o++ = v; };
  put(a + b), put(a - b), put(a * b), put(uint64_t(a) * b), put(int64_t(sa) * sb);
  put(uint32_t(uint64_t(a) * b >> 32)), put(uint32_t(int64_t(sa) * sb >> 32));
  put(a / odd), put(a % odd), put(sa / small), put(sa % small), put(a / 7), put(sa / 13), put(w / odd), put(sw % small),
      put(w / 1000003);
  put(a << (c & 31)), put(a >> (c & 31)), put(sa >> (c & 31)), put(w << (c & 63)), put(w >> (c & 63)),
      put(sw >> (c & 63));
  put((a & b) | (~a & c)), put(a ^ b ^ c), put((a << 11) | (a >> 21)), put((a >> 5) & 0x3ff),
      put(int32_t(a << 7) >> 20);
  put(a << 24 | (a << 8 & 0xff0000) | (a >> 8 & 0xff00) | a >> 24);
  put(sa < sb ? a : c), put(min(sa, sb)), put(max(a, b)), put(sw < int64_t(c)), put(int16_t(a)), put(uint8_t(b)),
      put(int8_t(c));
  put(uint16_t(a * 3));
}

BOTH void floats_of(const float* in, double* o) {
  const float a = in[0], b = in[1];
  const double da = a, db = b;
  const __half ha = __float2half_rn(a), hb = __float2half_rn(b);
  const __nv_bfloat16 ba = __float2bfloat16_rn(a), bb = __float2bfloat16_rn(b);
  auto put = [&](double v) { *o++ = v; };
  put(fmaf(a, b, 1)), put(a / b), put(sqrtf(fabsf(a))), put(fminf(a, b)), put(fmaxf(a, b)), put(copysignf(a, b)),
      put(floorf(a)), put(rintf(a));
  put(fma(da, db, 1.0)), put(da / db), put(int(a * 100)), put(float(int64_t(da * 1e6))), put(!(a < b) ? a : -b);
  put(__half2float(ha)), put(__half2float(__hadd(ha, hb))), put(__half2float(__hmul(ha, hb))),
      put(__half2float(__hneg(hb)));
  put(__bfloat162float(ba)), put(__bfloat162float(__hadd(ba, bb))), put(__bfloat162float(__hmul(ba, bb))),
      put(__bfloat162float(__hmax(ba, bb)));
}
