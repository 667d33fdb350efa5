#include "kernels.cuh"

PACK(bf16, 4)
PIXELRNN_KERNELS_bf16_4
