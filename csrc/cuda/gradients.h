// Operands and sums around the gradients' matrix products: the operand of the recurrent weight's gradient, and the sums
// over the border of the images that the gradient of the initial state is made of.
#pragma once
#include <cuda.h>

#include "ragged.h"

namespace pixelrnn::cuda {

struct MapShape {
  int directions, images, taps;
  RaggedImages maps;  // with the maps' size where all images fill them, too
};

// out[.., k, :] = the hidden state that tap first_tap + k of a cell reads. Nothing but a copy: bytes of any type.
struct NeighboursArgs {
  const void* h;   // [images][height][width][directions][hidden]
  const void* h0;  // [directions][hidden] of cells outside of the image, or null: zero
  void* out;       // [directions][images][height][width][count][hidden]
  MapShape shape;
  int first_tap, count;
  int pieces;  // of one hidden state
};
CUresult gather_neighbours(NeighboursArgs, int64_t state_bytes, CUstream);

// out[direction, image, k, :] = the sum of dx over the cells whose tap k lies outside of the image, always in the same
// order.
struct BorderSumsArgs {
  const void* dx;  // [directions][images][height][width][columns]
  void* out;       // [directions][images][taps][columns], of float for halves
  MapShape shape;
  int columns;
};
CUresult sum_border(MapType, const BorderSumsArgs&, CUstream);

}  // namespace pixelrnn::cuda
