#include "kernels.cuh"

PACK(tf32, 4)
PIXELRNN_tf32_4(tf32)
