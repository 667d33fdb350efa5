#define FP32(...) KERNEL(fp32, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack5_fp32, fp32, 5)
PIXELRNN_KERNELS_5
