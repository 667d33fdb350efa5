// The CPU kernels for NEON, which every AArch64 processor has.
#include "../kernels.h"
#if defined(__aarch64__)
#define PIXELRNN_ISA neon
#define PIXELRNN_VECTOR_BYTES 16
#define PIXELRNN_VECTOR_REGISTERS 32
#include "table.h"
#endif
