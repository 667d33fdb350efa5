#include "kernels.cuh"

PACK5(tf32)
PIXELRNN_TF32_VARIANTS5(tf32)
