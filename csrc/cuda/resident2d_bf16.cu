#include "kernels.cuh"

PIXELRNN_HALF_VARIANTS2D(bf16)
