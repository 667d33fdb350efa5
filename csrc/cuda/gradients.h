// What surrounds the gradients' matrix products: the operand of the recurrent weight's gradient, and the sums over the
// border of the map that the gradient of the initial state is made of. Maps are
// [directions][images][height][width][...].
#pragma once
#include <cuda.h>

#include "../geometry.h"

namespace pixelrnn::cuda {

struct MapShape {
  int directions, images, height, width, hidden;
  bool diagonal, reverse;
  int taps;

  PIXELRNN_HOST_DEVICE bool mirrored(int direction) const { return reverse != (direction == 1); }
  // The pixel that a tap reads, in columns of the map.
  PIXELRNN_HOST_DEVICE Displacement move(int tap, int direction) const {
    const Displacement d = state_tap(diagonal, taps, tap);
    return {d.up, mirrored(direction) ? -d.left : d.left};
  }
};

// out[.., k, :] = the hidden state that tap first_tap + k of a cell reads. Nothing but a copy: bytes of any type.
struct NeighboursArgs {
  const void* h;   // [.., hidden]
  const void* h0;  // [directions, hidden] of cells outside, or null: zero
  void* out;       // [.., count, hidden]
  MapShape shape;
  int first_tap, count;
  int pieces;  // of one hidden state
};
CUresult gather_neighbours(NeighboursArgs, int value_bytes, CUstream);

// out[direction, image, k, :] = the sum of dx over the cells whose tap k lies outside, always in the same order.
struct BorderSumsArgs {
  const void* dx;  // [.., hidden, 4]
  void* out;       // [directions, images, taps, hidden, 4], of float for halves
  MapShape shape;
};
enum class MapType { float32, float64, float16, bfloat16 };
CUresult sum_border(MapType, const BorderSumsArgs&, CUstream);

}  // namespace pixelrnn::cuda
