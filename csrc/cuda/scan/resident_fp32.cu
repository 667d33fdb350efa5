#define FP32(...) KERNEL(fp32, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack_fp32, fp32, 4)
PIXELRNN_KERNELS_4
