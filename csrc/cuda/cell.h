// The pointwise half of one LSTM step on a GPU. No framework here: plain pointers and a stream.
//
// A unit is one hidden channel of one cell; its four gates (i, f, g, o) are adjacent. The caller owns everything, and
// it must outlive the work on the stream. `gates` may be `pre`, and `c` may be `c_prev`; nothing else may overlap.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace pixelrnn::cuda {

template <class T> struct Cell {
  int64_t units;    // > 0
  const T* pre;     // [units][4] pre-activations
  const T* c_prev;  // [units]
  T* h;             // out: [units]
  T* c;             // out: [units]
  T* gates;         // out: [units][4] activated
};

// T: float, double, __half or __nv_bfloat16; the last two are computed in float. Returns the error of the launch.
template <class T> cudaError_t lstm_cell(const Cell<T>&, cudaStream_t);

}  // namespace pixelrnn::cuda
