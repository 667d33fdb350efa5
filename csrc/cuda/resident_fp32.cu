#include "kernels.cuh"

PACK(fp32, 4)
PIXELRNN_KERNELS_fp32_4
