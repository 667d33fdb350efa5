#include "kernels.cuh"

PACK2D(tf32)
PIXELRNN_TF32_VARIANTS2D(tf32)
