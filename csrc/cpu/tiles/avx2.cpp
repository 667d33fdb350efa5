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
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
