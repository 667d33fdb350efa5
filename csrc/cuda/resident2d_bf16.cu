#include "kernels.cuh"

PACK2D(bf16)
PIXELRNN_HALF_VARIANTS2D(bf16)
