// The pointwise half of one line for the step path, where a matrix product of torch does the other half. Cells of four
// gates and of five, any hidden size, any number of taps, lines of any length; T is float, double, half or bfloat16
// (maps, weights; computed in C, float or double).
//
// The product's operand holds, for every cell of a whole line, the values of its neighbours side by side:
// [directions][cells][images][taps][...]. The kernel of a line writes each of its results to the rows of the cells that
// read it on the next line, so nothing is gathered. Rows that no active cell writes keep what they hold at the start:
// h0, or zero.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "../formula.h"
#include "../geometry.h"
#include "ragged.h"

namespace pixelrnn::cuda {

struct StepShape {
  int directions, images, pixels, hidden, taps;
  int line, first, active;             // the line, its first active cell, the number of them
  Geometry geometry[kMostDirections];  // by direction
  RaggedImages ragged;                 // the product has the cells of the whole map, of which a smaller image has some
};
using StepCell = Cell<double, void>;  // peephole: T [directions][4][hidden]
// Columns: a pixel's row has [hidden][4], its gates, then [hidden], the fifth ones where the cell has five.
struct StepForwardArgs {
  StepShape shape;
  StepCell cell;
  const void* product;  // T [directions][active][images][columns]
  const void* x;        // T [directions][images][pixels][columns]
  const void* c0;       // T [directions][hidden] or null
  void* h;              // T [images][pixels][directions][hidden]
  void* c;              // C [directions][images][pixels][hidden]
  void* gates;          // [.., columns] activated: T, but half for bfloat16
  void* operand;        // T [directions][cells][images][taps][hidden]
};
struct StepBackwardArgs {
  StepShape shape;
  StepCell cell;
  const void* product;  // T [directions][active][images][hidden], or null on the last line
  const void* dh;       // as h
  const void* gates;
  const void* c;
  const void* c0;
  void* dx;        // T [.., columns]
  void* dc;        // C [directions][cells][images][hidden], from line to line
  void* dc_up;     // C [line % 2][directions][cells + 1][images][hidden]: what a line reads, of five gates
  void* dc_above;  // C [directions][images][hidden]: what leaves the first row, summed
  void* operand;   // T [directions][cells][images][taps][columns]
};

// Gives the kernel that the lines of one pass share, so that the loop over the lines looks nothing up.
CUresult load_step_kernel(MapType, int gates, bool backward, CUfunction& kernel);
CUresult step_forward(CUfunction kernel, const StepForwardArgs&, CUstream);
CUresult step_backward(CUfunction kernel, const StepBackwardArgs&, CUstream);

}  // namespace pixelrnn::cuda
