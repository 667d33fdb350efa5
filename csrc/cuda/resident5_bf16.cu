#include "kernels.cuh"

PACK(bf16, 5)
PIXELRNN_KERNELS_bf16_5
