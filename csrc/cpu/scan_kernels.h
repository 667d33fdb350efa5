// What the scan (scan.h) asks of one instruction set: register tiles over a few cells and one block of units.
//
// A tile computes, for some cells of a line, the product of everything the cells read with the weights, and the LSTM
// cell as its epilogue, so that pre-activations are never written. Maps are channels-last; the four gates of a unit are
// adjacent, and the fifth gates of all units follow, where there are five.
#pragma once
#include <cstdint>

#include "../formula.h"
#include "rows.h"
#include "weights.h"

namespace pixelrnn::cpu {

enum class Pass { kForward, kBackward };

// The maps of one direction, [images][pixels][hidden] or [images][pixels][gates * hidden]. A cell of four gates carries
// on the state of one neighbour; a cell of five gates carries on the states of both.
template <class T> struct ForwardMaps {
  const T* x;  // added to the pre-activations; may be null
  T *h, *c, *gates;
  int64_t h_stride;           // values from pixel to pixel of h, which has the units of all directions
  Cell<T> cell = {};          // of five gates, as is the border
  const T* border = nullptr;  // the carry_up of the cells without an upper neighbour
};
template <class T> struct BackwardMaps {
  const T *c, *gates;
  T* dc;              // [chains][hidden]: gradient of the running c
  T* dx;              // gradient of the pre-activations
  int64_t dh_stride;  // values from pixel to pixel of dh
  Cell<T> cell = {};  // of five gates
};

// The kernels of an instruction set for cells of four gates, or for cells of five.
template <class T> struct ScanKernels {
  // Units that a tile computes at once, and cells that it takes at the most.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // Weights of blocks b0 <= b < b1, in the order in which a tile reads them, from those of each tap. Forward: products
  // with the taps' values. Backward: transposed, channels are units.
  void (*pack)(
      Pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1);
  void (*forward)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const ForwardMaps<T>&);
  void (*backward)(
      const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>&);
};

}  // namespace pixelrnn::cpu
