#include "kernels.cuh"

PIXELRNN_FP32_VARIANTS2D(fp32)
