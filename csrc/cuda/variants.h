// The compiled resident kernels, each for one kind of launch: `single` blocks, `cluster`s of blocks that share an
// image, or clusters that share `images`. They differ in where the weights stay (Held) and in how many threads share
// the registers; every other size is an argument. FORWARD(format, held, tiles of a warp, threads, kind),
// BACKWARD(format, held, units of a thread, threads, kind): see forward.cuh and backward.cuh. The numbers are the most
// that a kernel takes; 0 units of a thread: two of any number of cells. FORWARD5 and BACKWARD5 are of cells of five
// gates, which carry on the states of both neighbours.
#pragma once
#include "../host_device.h"

namespace pixelrnn::cuda {

// The weights of a warp's slice: so many pairs are in registers and so many further ones in shared memory, filled up
// with zeros. kAny: all, in shared memory.
struct Held {
  int registers, shared;
  static constexpr int kAny = 1 << 20;
  constexpr int most() const { return registers + shared; }
};
// Tiles that a warp of the forward takes at once: where a weight is loaded for each use, it is used twice.
PIXELRNN_HOST_DEVICE constexpr int tiles_at_once(Held held, int most_tiles, bool fma) {
  return most_tiles > 1 && held.registers == 0 && !fma ? 2 : 1;
}
// By their names in the variants.
constexpr Held kHeld_2{2, 0}, kHeld_4{4, 0}, kHeld_8{8, 0}, kHeld_16{16, 0}, kHeld_4s{4, 4}, kHeld_8s{8, 8},
    kHeld_20s{20, 12}, kHeld_s{0, Held::kAny}, kHeld_10{10, 0}, kHeld_16s{16, 4};

enum class Kind { single, cluster, images };
constexpr int kImages = 4, kImageBlocks = 8;  // of a cluster that shares images
PIXELRNN_HOST_DEVICE constexpr int images_of(Kind kind) { return kind == Kind::images ? kImages : 1; }
// Whether clusters of so many blocks are of the kind.
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda

// Each row is FORWARD or BACKWARD of the kernel's name and of what the name is made of.
#define PIXELRNN_FORWARD(F, HELD, TILES, THREADS, KIND) \
  FORWARD(forward_##F##_##HELD##_##TILES##_##THREADS##_##KIND, F, HELD, TILES, THREADS, KIND)
#define PIXELRNN_BACKWARD(F, HELD, UNITS, THREADS, KIND) \
  BACKWARD(backward_##F##_##HELD##_##UNITS##_##THREADS##_##KIND, F, HELD, UNITS, THREADS, KIND)
#define PIXELRNN_FORWARD5(F, HELD, TILES, THREADS, KIND) \
  FORWARD5(forward5_##F##_##HELD##_##TILES##_##THREADS##_##KIND, F, HELD, TILES, THREADS, KIND)
#define PIXELRNN_BACKWARD5(F, HELD, UNITS, THREADS, KIND) \
  BACKWARD5(backward5_##F##_##HELD##_##UNITS##_##THREADS##_##KIND, F, HELD, UNITS, THREADS, KIND)

#define PIXELRNN_HALF_VARIANTS(F)           \
  PIXELRNN_FORWARD(F, 2, 1, 256, single)    \
  PIXELRNN_FORWARD(F, 2, 1, 256, cluster)   \
  PIXELRNN_FORWARD(F, 4, 1, 256, single)    \
  PIXELRNN_FORWARD(F, 4, 1, 256, cluster)   \
  PIXELRNN_FORWARD(F, 8, 1, 256, single)    \
  PIXELRNN_FORWARD(F, 8, 1, 256, cluster)   \
  PIXELRNN_FORWARD(F, 8, 4, 256, single)    \
  PIXELRNN_FORWARD(F, 8, 4, 256, cluster)   \
  PIXELRNN_FORWARD(F, 8, 1, 256, images)    \
  PIXELRNN_FORWARD(F, 4s, 4, 512, single)   \
  PIXELRNN_FORWARD(F, s, 1, 512, single)    \
  PIXELRNN_FORWARD(F, s, 1, 512, cluster)   \
  PIXELRNN_FORWARD(F, s, 4, 512, single)    \
  PIXELRNN_FORWARD(F, s, 4, 512, cluster)   \
  PIXELRNN_BACKWARD(F, 4, 4, 256, single)   \
  PIXELRNN_BACKWARD(F, 8, 4, 256, single)   \
  PIXELRNN_BACKWARD(F, 16, 0, 256, single)  \
  PIXELRNN_BACKWARD(F, 20s, 0, 256, single) \
  PIXELRNN_BACKWARD(F, 4, 1, 512, cluster)  \
  PIXELRNN_BACKWARD(F, 8, 4, 256, cluster)  \
  PIXELRNN_BACKWARD(F, s, 0, 512, single)   \
  PIXELRNN_BACKWARD(F, s, 0, 512, cluster)

#define PIXELRNN_TF32_VARIANTS(F)          \
  PIXELRNN_FORWARD(F, 2, 1, 256, single)   \
  PIXELRNN_FORWARD(F, 2, 1, 256, cluster)  \
  PIXELRNN_FORWARD(F, 4, 1, 256, single)   \
  PIXELRNN_FORWARD(F, 4, 1, 256, cluster)  \
  PIXELRNN_FORWARD(F, 8, 1, 256, single)   \
  PIXELRNN_FORWARD(F, 8, 1, 256, cluster)  \
  PIXELRNN_FORWARD(F, 8, 2, 256, single)   \
  PIXELRNN_FORWARD(F, 8, 2, 256, cluster)  \
  PIXELRNN_FORWARD(F, 8s, 1, 256, cluster) \
  PIXELRNN_FORWARD(F, s, 1, 512, single)   \
  PIXELRNN_FORWARD(F, s, 1, 512, cluster)  \
  PIXELRNN_FORWARD(F, s, 4, 512, single)   \
  PIXELRNN_FORWARD(F, s, 4, 512, cluster)  \
  PIXELRNN_BACKWARD(F, 8, 4, 256, single)  \
  PIXELRNN_BACKWARD(F, 8, 2, 256, cluster) \
  PIXELRNN_BACKWARD(F, 16, 0, 256, single) \
  PIXELRNN_BACKWARD(F, s, 0, 512, single)  \
  PIXELRNN_BACKWARD(F, s, 0, 512, cluster)

#define PIXELRNN_FP32_VARIANTS(F)         \
  PIXELRNN_FORWARD(F, s, 1, 512, single)  \
  PIXELRNN_FORWARD(F, s, 1, 512, cluster) \
  PIXELRNN_FORWARD(F, s, 4, 512, single)  \
  PIXELRNN_FORWARD(F, s, 4, 512, cluster) \
  PIXELRNN_BACKWARD(F, s, 0, 512, single) \
  PIXELRNN_BACKWARD(F, s, 0, 512, cluster)

#define PIXELRNN_HALF_VARIANTS5(F)           \
  PIXELRNN_FORWARD5(F, 2, 1, 256, single)    \
  PIXELRNN_FORWARD5(F, 4, 1, 256, single)    \
  PIXELRNN_FORWARD5(F, 4, 4, 256, single)    \
  PIXELRNN_FORWARD5(F, s, 1, 512, single)    \
  PIXELRNN_FORWARD5(F, s, 1, 512, cluster)   \
  PIXELRNN_FORWARD5(F, s, 4, 512, single)    \
  PIXELRNN_FORWARD5(F, s, 4, 512, cluster)   \
  PIXELRNN_BACKWARD5(F, 10, 4, 256, single)  \
  PIXELRNN_BACKWARD5(F, 16s, 0, 256, single) \
  PIXELRNN_BACKWARD5(F, s, 0, 512, single)   \
  PIXELRNN_BACKWARD5(F, s, 0, 512, cluster)

#define PIXELRNN_TF32_VARIANTS5(F)           \
  PIXELRNN_FORWARD5(F, 4, 1, 256, single)    \
  PIXELRNN_FORWARD5(F, s, 1, 512, single)    \
  PIXELRNN_FORWARD5(F, s, 1, 512, cluster)   \
  PIXELRNN_FORWARD5(F, s, 4, 512, single)    \
  PIXELRNN_FORWARD5(F, s, 4, 512, cluster)   \
  PIXELRNN_BACKWARD5(F, 10, 4, 256, single)  \
  PIXELRNN_BACKWARD5(F, 16s, 0, 256, single) \
  PIXELRNN_BACKWARD5(F, s, 0, 512, single)   \
  PIXELRNN_BACKWARD5(F, s, 0, 512, cluster)

#define PIXELRNN_FP32_VARIANTS5(F)         \
  PIXELRNN_FORWARD5(F, s, 1, 512, single)  \
  PIXELRNN_FORWARD5(F, s, 1, 512, cluster) \
  PIXELRNN_FORWARD5(F, s, 4, 512, single)  \
  PIXELRNN_FORWARD5(F, s, 4, 512, cluster) \
  PIXELRNN_BACKWARD5(F, s, 0, 512, single) \
  PIXELRNN_BACKWARD5(F, s, 0, 512, cluster)

#define PIXELRNN_VARIANTS       \
  PIXELRNN_HALF_VARIANTS(bf16)  \
  PIXELRNN_HALF_VARIANTS(fp16)  \
  PIXELRNN_TF32_VARIANTS(tf32)  \
  PIXELRNN_FP32_VARIANTS(fp32)  \
  PIXELRNN_HALF_VARIANTS5(bf16) \
  PIXELRNN_HALF_VARIANTS5(fp16) \
  PIXELRNN_TF32_VARIANTS5(tf32) \
  PIXELRNN_FP32_VARIANTS5(fp32)
