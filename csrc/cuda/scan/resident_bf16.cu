#define HALF(...) KERNEL(bf16, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack_bf16, bf16, 4)
PIXELRNN_KERNELS_4
