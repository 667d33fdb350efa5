#include "../kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#endif
#define PIXELRNN_ISA avx512_bf16
#define PIXELRNN_VECTOR_BYTES 64
#define PIXELRNN_VECTOR_REGISTERS 32
#define PIXELRNN_BF16
#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
