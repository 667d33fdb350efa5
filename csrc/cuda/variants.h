// The compiled resident kernels. They differ in where the weights stay and in how many threads share the registers; every
// other size is an argument. FORWARD(format, pairs, tiles, threads), BACKWARD(format, pairs, cells of a thread, threads): see
// forward.cuh and backward.cuh.
#pragma once

#define PIXELRNN_HALF_VARIANTS(F) \
  FORWARD(F, 3, 2, 256)           \
  FORWARD(F, 8, 4, 256)           \
  FORWARD(F, 0, 4, 512)           \
  BACKWARD(F, 8, 4, 256)          \
  BACKWARD(F, 16, 8, 256)         \
  BACKWARD(F, 8, 0, 512)          \
  BACKWARD(F, 0, 0, 512)

#define PIXELRNN_TF32_VARIANTS(F) \
  FORWARD(F, 3, 2, 256)           \
  FORWARD(F, 8, 2, 256)           \
  FORWARD(F, 0, 4, 512)           \
  BACKWARD(F, 8, 4, 256)          \
  BACKWARD(F, 16, 0, 256)         \
  BACKWARD(F, 0, 0, 512)

#define PIXELRNN_FP32_VARIANTS(F) \
  FORWARD(F, 0, 4, 512)           \
  BACKWARD(F, 0, 0, 512)

#define PIXELRNN_VARIANTS      \
  PIXELRNN_HALF_VARIANTS(bf16) \
  PIXELRNN_HALF_VARIANTS(fp16) \
  PIXELRNN_TF32_VARIANTS(tf32) \
  PIXELRNN_FP32_VARIANTS(fp32)
