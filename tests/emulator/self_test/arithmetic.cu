// One thread a row. From PTX and from source the results must agree: bit for bit, but for the functions of libm.
#include "kernels.h"
#include "primitives.cuh"

constexpr int kIntegers = 36, kFloats = 22, kFunctions = 6;

extern "C" __global__ void integers(const __grid_constant__ Args args) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  const uint32_t* const in = static_cast<const uint32_t*>(args.in) + 3 * row;
  uint64_t* o = static_cast<uint64_t*>(args.out) + kIntegers * row;
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
DEFINE_ENTRY(integers, Args);

extern "C" __global__ void floats(const __grid_constant__ Args args) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  const float* const in = static_cast<const float*>(args.in) + 2 * row;
  double* o = static_cast<double*>(args.out) + kFloats * row;
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
  put(emulator::primitive::round_tf32(a));
}
DEFINE_ENTRY(floats, Args);

extern "C" __global__ void functions(const __grid_constant__ Args args) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  const float a = static_cast<const float*>(args.in)[row];
  double* const o = static_cast<double*>(args.out) + kFunctions * row;
  o[0] = expf(a), o[1] = tanhf(a), o[2] = exp(double(a)), o[3] = tanh(double(a));
  o[4] = emulator::primitive::exp2_approx(a), o[5] = emulator::primitive::reciprocal_approx(a);
}
DEFINE_ENTRY(functions, Args);
