#include "kernels.cuh"

PIXELRNN_TF32_VARIANTS2D(tf32)
