// The resident kernels differ in where the weights stay (Held), in the kind of launch (Kind) and in how many threads
// share the registers. Every other size is an argument. kernel_list.h has a row for each.
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

// A launch of single blocks, of clusters of blocks that share an image, or of clusters that share several images.
enum class Kind { single, cluster, images };
constexpr int kImages = 4, kImageBlocks = 8;  // of a cluster that shares images
PIXELRNN_HOST_DEVICE constexpr int images_of(Kind kind) { return kind == Kind::images ? kImages : 1; }
// Whether clusters of so many blocks are of the kind.
PIXELRNN_HOST_DEVICE constexpr bool has_blocks(Kind kind, int blocks) {
  return kind == Kind::single ? blocks == 1 : kind == Kind::cluster ? blocks > 1 : blocks == kImageBlocks;
}

}  // namespace pixelrnn::cuda
