#define HALF(...) KERNEL(fp16, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack5_fp16, fp16, 5)
PIXELRNN_KERNELS_5
