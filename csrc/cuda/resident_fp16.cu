#define HALF(...) KERNEL(fp16, __VA_ARGS__)
#include "kernels.cuh"

PACK(fp16, 4)
PIXELRNN_KERNELS_4
