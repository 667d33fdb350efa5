// Every resident kernel: add a row here and run `make kernels`. tests/helpers/kernels.py reads the rows, too.
//
// HALF is bf16 and fp16, TENSOR is HALF and TF32, ANY is TENSOR and FP32. The arguments of a row are
//   the pass (5: cells of five gates),
//   the name of the weights' storage (s: shared memory),
//   number of weight pairs (variants.h) in registers,
//   number of weight pairs in shared memory,
//   tiles of a warp (forward), or hidden units of a thread (backward; 0: two units of any number of cells),
//   threads of a block,
//   kind of launch.
// All sizes are the most that a kernel takes.
#pragma once

// clang-format off
#define PIXELRNN_KERNELS_4 \
  TENSOR(forward, 2, 2, 0, 1, 256, single) \
  TENSOR(forward, 2, 2, 0, 1, 256, cluster) \
  TENSOR(forward, 4, 4, 0, 1, 256, single) \
  TENSOR(forward, 4, 4, 0, 1, 256, cluster) \
  HALF(forward, 8, 8, 0, 4, 256, single) \
  HALF(forward, 8, 8, 0, 4, 256, cluster) \
  TF32(forward, 8, 8, 0, 2, 256, single) \
  TF32(forward, 8, 8, 0, 2, 256, cluster) \
  HALF(forward, 8, 8, 0, 1, 256, images) \
  HALF(forward, 4s, 4, 4, 4, 512, single) \
  TF32(forward, 8s, 8, 8, 1, 256, cluster) \
  ANY(forward, s, 0, Pairs::kAny, 1, 512, single) \
  ANY(forward, s, 0, Pairs::kAny, 1, 512, cluster) \
  ANY(forward, s, 0, Pairs::kAny, 4, 512, single) \
  ANY(forward, s, 0, Pairs::kAny, 4, 512, cluster) \
  HALF(backward, 4, 4, 0, 4, 256, single) \
  TENSOR(backward, 8, 8, 0, 4, 256, single) \
  TENSOR(backward, 16, 16, 0, 0, 256, single) \
  HALF(backward, 20s, 20, 12, 0, 256, single) \
  HALF(backward, 4, 4, 0, 1, 512, cluster) \
  HALF(backward, 8, 8, 0, 4, 256, cluster) \
  TF32(backward, 8, 8, 0, 2, 256, cluster) \
  ANY(backward, s, 0, Pairs::kAny, 0, 512, single) \
  ANY(backward, s, 0, Pairs::kAny, 0, 512, cluster)
#define PIXELRNN_KERNELS_5 \
  HALF(forward5, 2, 2, 0, 1, 256, single) \
  TF32(forward5, 4, 4, 0, 1, 256, single) \
  HALF(forward5, 4, 4, 0, 4, 256, single) \
  ANY(forward5, s, 0, Pairs::kAny, 1, 512, single) \
  ANY(forward5, s, 0, Pairs::kAny, 1, 512, cluster) \
  ANY(forward5, s, 0, Pairs::kAny, 4, 512, single) \
  ANY(forward5, s, 0, Pairs::kAny, 4, 512, cluster) \
  TENSOR(backward5, 10, 10, 0, 4, 256, single) \
  TENSOR(backward5, 16s, 16, 4, 0, 256, single) \
  ANY(backward5, s, 0, Pairs::kAny, 0, 512, single) \
  ANY(backward5, s, 0, Pairs::kAny, 0, 512, cluster)

// A file that expands a list first defines HALF, TF32 and FP32.
#define TENSOR(...) HALF(__VA_ARGS__) TF32(__VA_ARGS__)
#define ANY(...) TENSOR(__VA_ARGS__) FP32(__VA_ARGS__)
