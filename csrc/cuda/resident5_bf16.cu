#include "kernels.cuh"

PACK(bf16, 5)
PIXELRNN_half_5(bf16)
