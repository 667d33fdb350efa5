// Properties of a resident kernel (one launch for a scan): where the weights stay, and the kind of launch.
#pragma once
#include "../host_device.h"

namespace pixelrnn::cuda {

// How many of a warp's weight pairs (64 bytes along K of each matrix row) lie in registers, and how many in shared
// memory. Zeros fill missing pairs. kAny: any number.
struct Pairs {
  int registers, shared;
  static constexpr int kAny = 1 << 20;
  constexpr int max() const { return registers + shared; }
};
// Returns how many tiles a forward warp multiplies at once. Two tiles share a load of a weight from shared memory.
PIXELRNN_HOST_DEVICE constexpr int tiles_at_once(Pairs pairs, int max_tiles, bool fma) {
  return max_tiles > 1 && pairs.registers == 0 && !fma ? 2 : 1;
}

// A kernel's launch: a block for each image, a cluster for each image, or a cluster for several images.
enum class Kind { single, cluster, images };
constexpr int kImages = 4, kImageBlocks = 8;  // in a cluster of Kind::images
PIXELRNN_HOST_DEVICE constexpr int images_per_cluster(Kind kind) { return kind == Kind::images ? kImages : 1; }
// Returns whether a kernel of this kind takes `blocks` blocks.
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda
