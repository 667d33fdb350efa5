// The list of all resident kernels, each of which computes a whole scan in one launch. After a change here, run
// `make kernels`. tests/helpers/kernels.py reads the rows, too.
//
// A row begins with its number formats: HALF is bf16 and fp16, TENSOR is HALF and tf32, ANY is TENSOR and fp32.
// Its arguments are:
//   1. the pass: forward or backward for cells of four gates, forward5 or backward5 for cells of five gates
//   2. where the weights are, as in the kernel's name: argument 3 if it is not 0, then "s" if weights lie in shared
//      memory
//   3. 64-byte pieces of each weight row in registers
//   4. 64-byte pieces of each weight row in shared memory
//   5. forward: tiles (8 cells) of a warp; backward: hidden units of a thread, or 0 if it may have any number of cells
//   6. threads of a block
//   7. the launch: one block for each image, one cluster for each image, or one cluster for several images
// A kernel also computes smaller layers, which need fewer pieces, tiles or threads than the kernel's row says.
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

// A file that uses these macros first defines HALF, TF32 and FP32.
#define TENSOR(...) HALF(__VA_ARGS__) TF32(__VA_ARGS__)
#define ANY(...) TENSOR(__VA_ARGS__) FP32(__VA_ARGS__)
