#include "kernels.cuh"

PACK(fp16, 4)
PIXELRNN_KERNELS_fp16_4
