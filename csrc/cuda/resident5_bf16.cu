#include "kernels.cuh"

PACK5(bf16)
PIXELRNN_HALF_VARIANTS5(bf16)
