// What the convolution (convolution.h) asks of one instruction set.
#pragma once
#include <cstdint>

#include "rows.h"

namespace pixelrnn::cpu {

template <class T> struct ConvolutionKernels {
  // y [cells][outputs] = the taps' values times packed [all channels][block_outputs], for the block of outputs from o0
  // on and at most max_cells cells.
  int (*block_outputs)(int outputs, int o0);
  int max_cells;
  void (*convolve)(const Rows<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y);
  // to = from [n]; to [columns][rows] = from [rows][columns]. Zero where y, laid out as `from`, is given and not
  // positive.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

}  // namespace pixelrnn::cpu
