// All CPU kernels of one instruction set. Before a file includes this header, it selects the instruction set and
// defines PIXELRNN_ISA (a namespace), PIXELRNN_VECTOR_BYTES and PIXELRNN_VECTOR_REGISTERS. With PIXELRNN_BF16, there
// are only kernels for bfloat16, which use the instructions of AVX512-BF16. With PIXELRNN_AMX, AMX computes their
// products. With PIXELRNN_BASELINE, there are kernels for all formats, and those for bfloat16 compute the same as
// AVX512-BF16 without its instructions.
//
// Headers of this folder must not call inline functions of the standard library. The linker keeps only one copy of such
// a function, which may contain instructions that this machine lacks.
#pragma once
#include "columns.h"
#include "convolution.h"
#include "likelihood.h"
#include "scan.h"
#include "simd.h"
#include "weight_gradient.h"
#if defined(PIXELRNN_AMX)
#include "amx_convolution.h"
#include "amx_scan.h"
#include "amx_weight_gradient.h"
#endif

namespace pixelrnn::cpu::PIXELRNN_ISA {

template <class T> struct Table {
  static void activation(bool is_tanh, int64_t n, const Sum<T>* x, Sum<T>* y) {
    using Math = VectorMath<Sum<T>>;
    for (int64_t i = 0; i < n; i += lanes<T>) {
      const Vec<T> v = load(x + i, n - i);
      store(y + i, is_tanh ? Math::tanh(v) : Math::sigmoid(v), n - i);
    }
  }

  static void sum(int64_t pixels, int64_t n, int64_t stride, int count, const T* const* terms, T* to) {
    for (int64_t p = 0; p < pixels; ++p, to += n)
      for (int64_t i = 0; i < n; i += lanes<T>) {
        Vec<T> total = load(terms[0] + p * stride + i, n - i);
        for (int k = 1; k < count; ++k) total += load(terms[k] + p * stride + i, n - i);
        store(to + i, total, n - i);
      }
  }

  static constexpr ColumnKernels<T> columns() {
    if constexpr (!is_converted<T>) return ColumnTiles<T, false>::kernels;
    return {};
  }
  static constexpr ColumnKernels<T> grid_columns() {
    if constexpr (sizeof(T) == 8) return ColumnTiles<T, true>::kernels;
    return {};
  }

  static constexpr auto rounding() -> void (*)(T*, int64_t, T, T) {
    if constexpr (sizeof(T) == 8) return round_to_grid<T>;
    return nullptr;
  }

#if defined(PIXELRNN_AMX)
  template <int G> using Scan = AmxScan<G>;
  using Convolution = AmxConvolution;
  using WeightGradient = AmxWeightGradient;
#else
  template <int G> using Scan = ScanTiles<T, G>;
  using Convolution = ConvolutionTiles<T>;
  using WeightGradient = WeightGradientTiles<T>;
#endif
  static constexpr Kernels<T> kernels{{Scan<4>::kernels, Scan<5>::kernels}, Convolution::kernels,
      WeightGradient::kernels, LikelihoodTiles<T>::kernels, columns(), grid_columns(), sum, rounding(), activation};
};
template <class T> const Kernels<T>& table() { return Table<T>::kernels; }
#if !defined(PIXELRNN_BF16) && !defined(PIXELRNN_AMX)
template const Kernels<float>& table();
template const Kernels<double>& table();
#endif
#if defined(PIXELRNN_BF16) || defined(PIXELRNN_AMX) || defined(PIXELRNN_BASELINE)
template const Kernels<Bf16>& table();
#endif

}  // namespace pixelrnn::cpu::PIXELRNN_ISA
