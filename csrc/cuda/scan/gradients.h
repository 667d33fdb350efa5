#pragma once
#include <cuda.h>

#include "../ragged.h"

namespace pixelrnn::cuda {

struct MapShape {
  int directions, images, taps;
  RaggedImages maps;
};

// Arguments of a kernel that copies `count` neighbours' hidden states for each pixel, from neighbour first_tap on. The
// gradient of the recurrent weight needs them.
struct NeighboursArgs {
  const void* h;   // hidden states, [images][height][width][directions][hidden]
  const void* h0;  // hidden state outside the image, [directions][hidden]; null means zero
  void* out;       // copied states, [directions][images][height][width][count][hidden]
  MapShape shape;
  int first_tap, count;
  // Number of pieces, of 2 to 16 bytes, of a state. gather_neighbours() sets it.
  int pieces;
};
CUresult gather_neighbours(NeighboursArgs, int64_t state_bytes, CUstream);

// Arguments of a kernel that sums dx over the pixels whose neighbour lies outside the image, for each neighbour (tap).
// The gradient of the initial state needs the sums. The order of the additions is fixed, so every run gives the same
// bits.
struct BorderSumsArgs {
  const void* dx;  // gradient of the pre-activations, [directions][images][height][width][columns]
  void* out;       // sums, [directions][images][taps][columns]; float if dx has 16 bits
  MapShape shape;
  int columns;
};
CUresult sum_border(MapType, const BorderSumsArgs&, CUstream);

}  // namespace pixelrnn::cuda
