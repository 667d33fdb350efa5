#include "kernels.cuh"

PACK(fp32, 5)
PIXELRNN_fp32_5(fp32)
