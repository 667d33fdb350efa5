#define TF32(...) KERNEL(tf32, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack5_tf32, tf32, 5)
PIXELRNN_KERNELS_5
