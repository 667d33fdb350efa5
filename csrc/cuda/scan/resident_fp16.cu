#define HALF(...) KERNEL(fp16, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack_fp16, fp16, 4)
PIXELRNN_KERNELS_4
