// Tests approximate functions and tensor cores. In products, out = a times the transpose of b. `in` holds 16 rows of a,
// then 8 rows of b, of 32 values each.
#include "kernels.h"
#include "primitives.cuh"

using namespace emulator::primitive;

template <class Value, class Multiply> __device__ __forceinline__ void product(const Args& a, Multiply multiply) {
  // kRow is the size of a row in bytes. An mma instruction reads 32 bytes of each row, and kHalf is half of these
  // bytes.
  constexpr int kRow = 32 * sizeof(Value), kHalf = 16;
  unsigned char* const b = dynamic_shared();
  const int lane = threadIdx.x, q = lane / 4, p = lane % 4;
  const unsigned char* const in = static_cast<const unsigned char*>(a.in);
  for (int i = lane; i < 8 * kRow / 16; i += 32)
    reinterpret_cast<uint4*>(b)[i] = reinterpret_cast<const uint4*>(in + 16 * kRow)[i];
  __syncwarp();
  float d[4] = {};
  for (int k = 0; k < kRow; k += 4 * kHalf) {
    uint32_t columns[4];
    load_matrix4(columns, shared_address(b + (lane % 8) * kRow + k + (lane / 8) * kHalf));
    for (int step = 0; step < 2; ++step) {
      auto word = [&](int row, int half) {
        return *reinterpret_cast<const uint32_t*>(in + row * kRow + k + (2 * step + half) * kHalf + 4 * p);
      };
      uint4 rows = {word(q, 0), word(q + 8, 0), word(q, 1), word(q + 8, 1)};
      if (a.way == swapped_fragments) rows = {rows.y, rows.x, rows.z, rows.w};
      multiply(d, rows, columns[2 * step], columns[2 * step + 1]);
    }
  }
  for (int e = 0; e < 4; ++e) output(a)[(q + 8 * (e / 2)) * 8 + 2 * p + e % 2] = d[e];
}

extern "C" __global__ void product_bf16(const __grid_constant__ Args a) {
  product<__nv_bfloat16>(a, [](float (&d)[4], uint4 r, uint32_t b0, uint32_t b1) { mma_bf16(d, r, b0, b1); });
}
extern "C" __global__ void product_fp16(const __grid_constant__ Args a) {
  product<__half>(a, [](float (&d)[4], uint4 r, uint32_t b0, uint32_t b1) { mma_fp16(d, r, b0, b1); });
}
extern "C" __global__ void product_tf32(const __grid_constant__ Args a) {
  product<float>(a, [&](float (&d)[4], uint4 r, uint32_t b0, uint32_t b1) {
    auto round = [&](uint32_t bits) {
      return a.way == not_rounded ? bits : __float_as_uint(round_tf32(__uint_as_float(bits)));
    };
    mma_tf32(d, {round(r.x), round(r.y), round(r.z), round(r.w)}, round(b0), round(b1));
  });
}

extern "C" __global__ void functions(const __grid_constant__ Args args) {
  const float a = input(args)[index()];
  double* const o = static_cast<double*>(args.out) + 7 * index();
  o[0] = expf(a), o[1] = tanhf(a), o[2] = exp(double(a)), o[3] = tanh(double(a));
  o[4] = exp2_approx(a), o[5] = reciprocal_approx(a), o[6] = round_tf32(a);
}
