// With PIXELRNN_EMULATED_AMX, plain C++ computes what the instructions compute (emulated_tiles.h), on any processor
// with AVX2.
#include "../kernels.h"
#if defined(PIXELRNN_HAS_AMX)
#include <immintrin.h>
#if defined(__clang__) && defined(PIXELRNN_EMULATED_AMX)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"))), apply_to = function)
#elif defined(PIXELRNN_EMULATED_AMX)
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")
#endif
#define PIXELRNN_ISA amx_bf16
#define PIXELRNN_VECTOR_BYTES 64
#define PIXELRNN_VECTOR_REGISTERS 32
#define PIXELRNN_AMX
#if !defined(PIXELRNN_EMULATED_AMX)
#define PIXELRNN_BF16
#elif !defined(PIXELRNN_AVX512_ON_AVX2)
#define PIXELRNN_AVX512_ON_AVX2
#endif
#include "table.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
