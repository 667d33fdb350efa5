// Kernels around the gradients' matrix products: the operand of the recurrent weight's gradient, and sums over the
// border for the initial state's gradient.
#pragma once
#include <cuda.h>

#include "ragged.h"

namespace pixelrnn::cuda {

struct MapShape {
  int directions, images, taps;
  RaggedImages maps;
};

// Copies to out[.., k, :] the hidden state that tap first_tap + k of a cell reads, as bytes.
struct NeighboursArgs {
  const void* h;   // [images][height][width][directions][hidden]
  const void* h0;  // [directions][hidden], the state outside the image; null: zero
  void* out;       // [directions][images][height][width][count][hidden]
  MapShape shape;
  int first_tap, count;
  int pieces;  // number of pieces, of 2 to 16 bytes, of a hidden state; set by gather_neighbours()
};
CUresult gather_neighbours(NeighboursArgs, int64_t state_bytes, CUstream);

// Writes to out[direction, image, k, :] the sum of dx over cells whose tap k is outside the image, in a fixed order.
struct BorderSumsArgs {
  const void* dx;  // [directions][images][height][width][columns]
  void* out;       // [directions][images][taps][columns], float for 16-bit dx
  MapShape shape;
  int columns;
};
CUresult sum_border(MapType, const BorderSumsArgs&, CUstream);

}  // namespace pixelrnn::cuda
