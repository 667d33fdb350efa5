// What the gradients of weights, of the scan and of the convolution, ask of one instruction set.
#pragma once
#include <cstdint>

#include "rows.h"

namespace pixelrnn::cpu {

template <class T> struct WeightGradientKernels {
  // The products of what the cells of `rows` read with dy [cells][outputs], added to sum [all channels of all
  // taps][columns]: the outputs (of a scan: units x gates), padded. Only of columns c0 <= c < c1, which are whole
  // groups of group_columns, or the end. scratch: scratch_size values.
  int (*columns)(int outputs);
  int group_columns, scratch_size;
  // The values of columns [columns], each [channels] `step` apart, from rows [channels][row] of `sums` sums, which are
  // `size` values apart and added in order.
  void (*total)(
      int sums, int64_t size, const T* sum, int64_t row, int columns, int channels, T* const* to, int64_t step);
  void (*add)(const Rows<T>&, int outputs, int c0, int c1, const T* dy, T* sum, T* scratch);
};

}  // namespace pixelrnn::cpu
