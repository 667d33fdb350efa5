#include "kernels.cuh"

PACK2D(fp32)
PIXELRNN_FP32_VARIANTS2D(fp32)
