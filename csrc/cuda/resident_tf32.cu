#include "kernels.cuh"

PACK(tf32, 4)
PIXELRNN_KERNELS_tf32_4
