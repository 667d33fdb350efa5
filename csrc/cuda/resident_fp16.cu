#include "kernels.cuh"

PACK(fp16, 4)
PIXELRNN_half_4(fp16)
