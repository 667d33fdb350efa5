#include "kernels.cuh"

PACK(bf16, 4)
PIXELRNN_half_4(bf16)
