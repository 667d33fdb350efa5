#include "kernels.cuh"

PACK(fp32)
PIXELRNN_FP32_VARIANTS(fp32)
