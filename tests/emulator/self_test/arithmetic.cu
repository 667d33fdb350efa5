#include "arithmetic.h"
#include "kernels.h"
#include "primitives.cuh"

extern "C" __global__ void integers(const __grid_constant__ Args a) {
  integers_of(static_cast<const uint32_t*>(a.in) + 3 * index(), static_cast<uint64_t*>(a.out) + kIntegers * index());
}
extern "C" __global__ void floats(const __grid_constant__ Args a) {
  floats_of(input(a) + 2 * index(), static_cast<double*>(a.out) + kFloats * index());
}
extern "C" __global__ void functions(const __grid_constant__ Args args) {
  const float a = input(args)[index()];
  double* const o = static_cast<double*>(args.out) + 7 * index();
  o[0] = expf(a), o[1] = tanhf(a), o[2] = exp(double(a)), o[3] = tanh(double(a));
  o[4] = emulator::primitive::exp2_approx(a), o[5] = emulator::primitive::reciprocal_approx(a);
  o[6] = emulator::primitive::round_tf32(a);
}
