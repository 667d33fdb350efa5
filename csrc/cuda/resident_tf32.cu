#include "kernels.cuh"

PACK(tf32)
PIXELRNN_TF32_VARIANTS(tf32)
