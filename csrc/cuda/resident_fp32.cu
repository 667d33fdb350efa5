#include "kernels.cuh"

PACK(fp32, 4)
PIXELRNN_fp32_4(fp32)
