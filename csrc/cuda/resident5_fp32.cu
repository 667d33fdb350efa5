#include "kernels.cuh"

PACK5(fp32)
PIXELRNN_FP32_VARIANTS5(fp32)
