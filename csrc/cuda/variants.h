// The choices that make a resident kernel: where the weights stay (Held), and the kind of launch (Kind).
#pragma once
#include "../host_device.h"

namespace pixelrnn::cuda {

// The pairs of weights of a warp's slice in registers, and the further pairs in shared memory, filled up with zeros.
// kAny: all pairs.
struct Held {
  int registers, shared;
  static constexpr int kAny = 1 << 20;
  constexpr int most() const { return registers + shared; }
};
// Returns how many tiles a forward warp multiplies at once. Two tiles share a load of a weight from shared memory.
PIXELRNN_HOST_DEVICE constexpr int tiles_at_once(Held held, int most_tiles, bool fma) {
  return most_tiles > 1 && held.registers == 0 && !fma ? 2 : 1;
}

// The launch of a kernel: single blocks, clusters that share an image, or clusters that share several images.
enum class Kind { single, cluster, images };
constexpr int kImages = 4, kImageBlocks = 8;  // of a cluster in Kind::images
PIXELRNN_HOST_DEVICE constexpr int images_of(Kind kind) { return kind == Kind::images ? kImages : 1; }
// Returns whether a kernel of this kind takes `blocks` blocks.
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda
