// The pointwise half of one line for the step path, where a matrix product of torch does the other half. Any hidden
// size, any number of taps, lines of any length; T is float, double, half or bfloat16 (maps, weights; computed in C,
// float or double).
//
// The product's operand holds, for every cell of a whole line, the values of its neighbours side by side:
// [directions][cells][images][taps][...]. The kernel of a line writes each of its results to the rows of the cells that
// read it on the next line, so nothing is gathered. Rows that no active cell writes keep what they hold at the start:
// h0, or zero.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "../geometry.h"

namespace pixelrnn::cuda {

enum class StepType { float32, float64, float16, bfloat16 };

struct StepShape {
  int directions, images, pixels, hidden, taps;
  int line, first, active;  // the line, its first active cell, the number of them
  Geometry geometry[2];     // by direction
};
struct StepForwardArgs {
  StepShape shape;
  const void* product;  // T [directions][active][images][hidden][4]
  const void* x;        // T [directions][images][pixels][hidden][4]
  const void* c0;       // T [directions][hidden] or null
  void* h;              // T [directions][images][pixels][hidden]
  void* c;              // C, the same
  void* gates;          // [.., hidden][4] activated: T, but half for bfloat16
  void* operand;        // T [directions][cells][images][taps][hidden]
};
struct StepBackwardArgs {
  StepShape shape;
  const void* product;  // T [directions][active][images][hidden], or null on the last line
  const void* dh;
  const void* gates;
  const void* c;
  const void* c0;
  void* dx;       // T [.., hidden][4]
  void* dc;       // C [directions][cells][images][hidden], from line to line
  void* operand;  // T [directions][cells][images][taps][hidden][4]
};

cudaError_t step_forward(StepType, const StepForwardArgs&, cudaStream_t);
cudaError_t step_backward(StepType, const StepBackwardArgs&, cudaStream_t);

}  // namespace pixelrnn::cuda
