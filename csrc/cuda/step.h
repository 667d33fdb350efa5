// The pointwise kernels of the step path: one launch for each line, after a matrix product of torch. T, the type of
// maps and weights, is float, double, half or bfloat16. C, the type of arithmetic, is float or double.
//
// The product's operand, [directions][cells][images][taps][...], has the values of each cell's neighbours side by side.
// A line's kernel writes each result to the rows of the cells that read it on the next line. Rows that no active cell
// writes keep their initial values, h0 or zero.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "../formula.h"
#include "../geometry.h"
#include "ragged.h"

namespace pixelrnn::cuda {

struct StepShape {
  int directions, images, pixels, hidden, taps;
  int line, first, active;  // the line, its first active cell, its number of active cells
  Geometry geometry[kMaxDirections];
  RaggedImages ragged;  // `active` is that of a full-size image, also for smaller images
};
using StepCell = CellParameters<double, void>;  // peephole: T [directions][4][hidden]
// The columns of a pixel are its gates: [hidden][4], then [hidden] fifth gates if the cell has five.
struct StepForwardArgs {
  StepShape shape;
  StepCell cell;
  const void* product;  // T [directions][active][images][columns]
  const void* x;        // T [directions][images][pixels][columns]
  const void* c0;       // T [directions][hidden] or null
  void* h;              // T [images][pixels][directions][hidden]
  void* c;              // C [directions][images][pixels][hidden]
  void* gates;          // [.., columns], activated, of type T, or half if T is bfloat16
  void* operand;        // T [directions][cells][images][taps][hidden]
};
struct StepBackwardArgs {
  StepShape shape;
  StepCell cell;
  const void* product;  // T [directions][active][images][hidden], or null on the last line
  const void* dh;       // T, like h
  const void* gates;
  const void* c;
  const void* c0;
  void* dx;        // T [.., columns]
  void* dc;        // C [directions][cells][images][hidden], gradient of c from line to line
  void* dc_up;     // C [line % 2][directions][cells + 1][images][hidden], gradient of the c above; five gates only
  void* dc_above;  // C [directions][images][hidden], gradient of the c above the image, summed
  void* operand;   // T [directions][cells][images][taps][columns]
};

// Looks up the kernel of a pass, once for all lines.
CUresult load_step_kernel(MapType, int gates, bool backward, CUfunction& kernel);
CUresult step_forward(CUfunction kernel, const StepForwardArgs&, CUstream);
CUresult step_backward(CUfunction kernel, const StepBackwardArgs&, CUstream);

}  // namespace pixelrnn::cuda
