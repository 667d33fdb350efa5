#define HALF(...) KERNEL(bf16, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack5_bf16, bf16, 5)
PIXELRNN_KERNELS_5
