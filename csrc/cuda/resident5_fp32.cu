#include "kernels.cuh"

PACK(fp32, 5)
PIXELRNN_KERNELS_fp32_5
