#pragma once
#include "../host_device.h"

namespace pixelrnn::cuda {

// At most `registers` pieces (64 bytes each) of a weight row lie in registers, and at most `shared` in shared memory.
// kAny means any number.
struct Pairs {
  int registers, shared;
  static constexpr int kAny = 1 << 20;
  constexpr int max() const { return registers + shared; }
};
// Returns how many tiles (8 cells each) a forward warp multiplies together. Two tiles share each load of a weight.
PIXELRNN_HOST_DEVICE constexpr int tiles_at_once(Pairs pairs, int max_tiles, bool fma) {
  return max_tiles > 1 && pairs.registers == 0 && !fma ? 2 : 1;
}

// How a kernel runs: by one block or one cluster for each image, or by one cluster for several images.
enum class Kind { single, cluster, images };
// With Kind::images, a cluster has kImageBlocks blocks and computes kImages images.
constexpr int kImages = 4, kImageBlocks = 8;
PIXELRNN_HOST_DEVICE constexpr int images_per_cluster(Kind kind) { return kind == Kind::images ? kImages : 1; }
// Returns whether a kernel of this kind runs as clusters of `blocks` blocks. `blocks` = 1 means a kernel without
// clusters.
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda
