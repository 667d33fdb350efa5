#define HALF(...) KERNEL(bf16, __VA_ARGS__)
#include "kernels.cuh"

PACK(bf16, 4)
PIXELRNN_KERNELS_4
