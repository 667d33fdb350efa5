#include "kernels.cuh"

PACK5(fp16)
PIXELRNN_HALF_VARIANTS5(fp16)
