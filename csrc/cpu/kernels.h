// The kernels of one instruction set, by family.
#pragma once
#include <cstdint>

#include "column_kernels.h"
#include "convolution_kernels.h"
#include "scan_kernels.h"
#include "weight_gradient_kernels.h"

namespace pixelrnn::cpu {

template <class T> struct Kernels {
  ScanKernels<T> scan[2];  // of four gates, of five
  ConvolutionKernels<T> convolution;
  WeightGradientKernels<T> weight_gradient;
  ColumnKernels<T> columns, grid_columns;               // grid_columns: on the grid (grid.h), of double alone
  void (*round)(T* x, int64_t n, T integral, T limit);  // tiles/rounding.h, of double alone
  // y = sigmoid(x) or tanh(x), for tests.
  void (*activation)(bool is_tanh, int64_t n, const T* x, T* y);
};

// Those of a level (instruction_set.h).
template <class T> const Kernels<T>& kernels(int level);

}  // namespace pixelrnn::cpu
