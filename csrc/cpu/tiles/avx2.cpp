// Tiles for AVX2 with FMA.
#include "../kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define PIXELRNN_ISA avx2
#define PIXELRNN_VECTOR_BYTES 32
#define PIXELRNN_VECTOR_REGISTERS 16
#include "table.h"

namespace pixelrnn::cpu {
template <class T> const Kernels<T>& avx2_kernels() { return avx2::Table<T>::kernels; }
template const Kernels<float>& avx2_kernels<float>();
template const Kernels<double>& avx2_kernels<double>();
}  // namespace pixelrnn::cpu
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
