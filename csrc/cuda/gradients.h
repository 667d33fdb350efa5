// Kernels around the matrix products of gradients. One gathers the operand for the recurrent weight's gradient. One
// sums dx over the border for the initial state's gradient.
#pragma once
#include <cuda.h>

#include "ragged.h"

namespace pixelrnn::cuda {

struct MapShape {
  int directions, images, taps;
  RaggedImages maps;
};

// Copies the hidden state that tap first_tap + k of a cell reads to out[.., k, :], for any type.
struct NeighboursArgs {
  const void* h;   // [images][height][width][directions][hidden]
  const void* h0;  // [directions][hidden], the state outside the image; null: zero
  void* out;       // [directions][images][height][width][count][hidden]
  MapShape shape;
  int first_tap, count;
  int pieces;  // a hidden state is copied as so many pieces of 2 to 16 bytes; gather_neighbours() sets it
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
