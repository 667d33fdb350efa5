#define HALF(...) KERNEL(fp16, __VA_ARGS__)
#include "kernels.cuh"

PACK(fp16, 5)
PIXELRNN_KERNELS_5
