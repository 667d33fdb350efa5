// The pointwise kernels of the step path, which run after a matrix product by torch for each line. T is the element
// type of tensors and weights, and C the type of the arithmetic, float or double.
//
// The operand of the matrix product has a row for each neighbour (tap) of each cell:
// [directions][cells][images][taps][...]. A kernel writes a cell's result to the rows of all cells that read it on the
// next line. Other rows keep their initial values, h0 or zero.
#pragma once
#include <cuda.h>

#include <cstdint>

#include "../../formula.h"
#include "../../geometry.h"
#include "../ragged.h"

namespace pixelrnn::cuda {

struct StepShape {
  int directions, images, pixels, hidden, taps;
  // The kernel computes `active` cells of a line, from cell `first` on, in an image that fills the tensors.
  int line, first, active;
  Geometry geometry[kMaxDirections];
  RaggedImages ragged;
};
// The peephole weights are [directions][4][hidden], of the tensors' element type.
using StepCell = CellParameters<double, void>;
// A pixel's columns are its gates: [hidden][4], then [hidden] for the fifth gates, if any.
struct StepForwardArgs {
  StepShape shape;
  StepCell cell;
  const void* product;  // result of the matrix product, T [directions][active][images][columns]
  const void* x;        // input-to-state product, T [directions][images][pixels][columns]
  const void* c0;       // initial cell state, T [directions][hidden]; null means zero
  void* h;              // hidden states, T [images][pixels][directions][hidden]
  void* c;              // cell states, C [directions][images][pixels][hidden]
  // Activated gates, T (half if T is bfloat16) [directions][images][pixels][columns].
  void* gates;
  void* operand;  // operand of the next product, T [directions][cells][images][taps][hidden]
};
struct StepBackwardArgs {
  StepShape shape;
  StepCell cell;
  // Result of the matrix product, T [directions][active][images][hidden]. Null on the last line, the first to be
  // computed.
  const void* product;
  // Gradient of h from outside the recurrence, T [images][pixels][directions][hidden].
  const void* dh;
  const void* gates;
  const void* c;
  const void* c0;
  void* dx;  // gradient of the pre-activations, T [directions][images][pixels][columns]
  void* dc;  // gradient of c, kept from line to line, C [directions][cells][images][hidden]
  // The gradient of c that a cell of five gates passes to the cell above it. Its elements have the type C, and its
  // shape is [line % 2][directions][cells + 1][images][hidden]. Cell i reads index i + 1.
  void* dc_up;
  void* dc_above;  // sum of the gradients of c above the first row, C [directions][images][hidden]
  void* operand;   // operand of the next product, T [directions][cells][images][taps][columns]
};

CUresult load_step_kernel(MapType, int gates, bool backward, CUfunction& kernel);
CUresult step_forward(CUfunction kernel, const StepForwardArgs&, CUstream);
CUresult step_backward(CUfunction kernel, const StepBackwardArgs&, CUstream);

}  // namespace pixelrnn::cuda
