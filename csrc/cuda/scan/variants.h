#pragma once
#include "../../host_device.h"

namespace pixelrnn::cuda {

// Limits of the pieces (64 bytes each) of a weight row in registers and in shared memory. kAny means no limit.
struct Pairs {
  int registers, shared;
  static constexpr int kAny = 1 << 20;
  constexpr int max() const { return registers + shared; }
};
// Returns how many tiles a forward warp multiplies together to share loads of weights.
PIXELRNN_HOST_DEVICE constexpr int tiles_at_once(Pairs pairs, int max_tiles, bool fma) {
  return max_tiles > 1 && pairs.registers == 0 && !fma ? 2 : 1;
}

enum class Kind { single, cluster, images };
constexpr int kImages = 4, kImageBlocks = 8;
PIXELRNN_HOST_DEVICE constexpr int images_per_cluster(Kind kind) { return kind == Kind::images ? kImages : 1; }
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda
