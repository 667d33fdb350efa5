// Cells that the kernels take at once, and what they read.
#pragma once
#include <cstdint>

namespace pixelrnn::cpu {

// Some cells of one line, and where each of their operands lies.
template <class T> struct Rows {
  int cells, taps;
  const int* channels;    // [taps] values that a tap reads of a pixel
  const T* const* tap;    // [taps][cells] -> [channels]
  const T* const* carry;  // [cells] -> [hidden] c of the cell before
  const T* const* dh;     // [cells] -> [hidden] gradient of h from outside the scan, backward
  const int64_t* cell;    // [cells] index of the cell in the maps of its direction
  const int64_t* chain;   // [cells] index of the chain of cells that carry c on
  int64_t ahead;          // from a cell to the one that the chain reaches next, for prefetching
  // Of cells with two carries:
  const T* const* carry_up;  // [cells] -> [hidden] c of the cell above
  const T* const* dc_below;  // [cells] -> [hidden] gradient of c that comes from the cell below, backward
  T* const* dc_up;           // [cells] -> [hidden] that of carry_up, to be written, backward
};

}  // namespace pixelrnn::cpu
