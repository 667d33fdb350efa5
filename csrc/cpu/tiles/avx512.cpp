// With PIXELRNN_AVX512_ON_AVX2 the compiler splits each 64-byte vector in two, so that a machine without AVX-512 can
// test these kernels.
#include "../kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__) && defined(PIXELRNN_AVX512_ON_AVX2)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#elif defined(PIXELRNN_AVX512_ON_AVX2)
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif
#define PIXELRNN_ISA avx512
#define PIXELRNN_VECTOR_BYTES 64
#define PIXELRNN_VECTOR_REGISTERS 32
#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
