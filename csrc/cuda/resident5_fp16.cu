#include "kernels.cuh"

PACK(fp16, 5)
PIXELRNN_half_5(fp16)
