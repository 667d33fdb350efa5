#define TF32(...) KERNEL(tf32, __VA_ARGS__)
#include "kernels.cuh"

PACK(pack_tf32, tf32, 4)
PIXELRNN_KERNELS_4
