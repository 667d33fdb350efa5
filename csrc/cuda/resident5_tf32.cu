#include "kernels.cuh"

PACK(tf32, 5)
PIXELRNN_KERNELS_tf32_5
