#include "kernels.cuh"

PACK(bf16)
PIXELRNN_HALF_VARIANTS(bf16)
