// What the gradients of weights, of the scan and of the convolution, ask of one instruction set.
#pragma once
#include <cstdint>

#include "rows.h"

namespace pixelrnn::cpu {

template <class T> struct WeightGradientKernels {
  // The products of what the cells of `rows` read with dy [cells][outputs], added to sum [all channels of all
  // taps][columns]: the outputs (of a scan: units x gates), padded. scratch: scratch_size values.
  int (*columns)(int outputs);
  int scratch_size;
  void (*add)(const Rows<T>&, int outputs, const T* dy, T* sum, T* scratch);
};

}  // namespace pixelrnn::cpu
