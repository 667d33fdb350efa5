#include "kernels.cuh"

PACK(tf32, 5)
PIXELRNN_tf32_5(tf32)
