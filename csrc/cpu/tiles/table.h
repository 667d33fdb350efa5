// All CPU kernels of one instruction set. Before a file includes this header, it selects the instruction set and
// defines PIXELRNN_ISA (a namespace), PIXELRNN_VECTOR_BYTES and PIXELRNN_VECTOR_REGISTERS.
//
// Headers of this folder must not call inline functions of the standard library. The linker keeps only one copy of such
// a function, which may contain instructions that this machine lacks.
#pragma once
#include "columns.h"
#include "convolution.h"
#include "scan.h"
#include "simd.h"
#include "weight_gradient.h"

namespace pixelrnn::cpu::PIXELRNN_ISA {

template <class T> struct Table {
  static void activation(bool is_tanh, int64_t n, const T* x, T* y) {
    using Math = VectorMath<T>;
    for (int64_t i = 0; i < n; i += lanes<T>) {
      const Vec<T> v = load(x + i, n - i);
      store(y + i, is_tanh ? Math::tanh(v) : Math::sigmoid(v), n - i);
    }
  }

  static constexpr ColumnKernels<T> grid_columns() {
    if constexpr (sizeof(T) == 8) return ColumnTiles<T, true>::kernels;
    return {};
  }

  static constexpr auto rounding() -> void (*)(T*, int64_t, T, T) {
    if constexpr (sizeof(T) == 8) return round_to_grid<T>;
    return nullptr;
  }

  static constexpr Kernels<T> kernels{{ScanTiles<T, 4>::kernels, ScanTiles<T, 5>::kernels},
      ConvolutionTiles<T>::kernels, WeightGradientTiles<T>::kernels, ColumnTiles<T, false>::kernels, grid_columns(),
      rounding(), activation};
};
template <class T> const Kernels<T>& table() { return Table<T>::kernels; }
template const Kernels<float>& table();
template const Kernels<double>& table();

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
