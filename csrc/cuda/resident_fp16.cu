#include "kernels.cuh"

PACK(fp16)
PIXELRNN_HALF_VARIANTS(fp16)
