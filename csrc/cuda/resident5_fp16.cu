#include "kernels.cuh"

PACK(fp16, 5)
PIXELRNN_KERNELS_fp16_5
