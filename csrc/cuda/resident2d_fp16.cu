#include "kernels.cuh"

PACK2D(fp16)
PIXELRNN_HALF_VARIANTS2D(fp16)
