#include "cell.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "../cell.h"

namespace pixelrnn::cuda {
namespace {

// Overloads of the full-precision functions, not the approximate intrinsics.
struct ScalarMath {
  static __device__ __forceinline__ float tanh(float x) { return ::tanhf(x); }
  static __device__ __forceinline__ double tanh(double x) { return ::tanh(x); }
  static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + ::expf(-x)); }
  static __device__ __forceinline__ double sigmoid(double x) { return 1.0 / (1.0 + ::exp(-x)); }
};

// torch switches the implicit conversions of the half types off.
__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

__device__ __forceinline__ void store(float* p, float x) { *p = x; }
__device__ __forceinline__ void store(double* p, double x) { *p = x; }
__device__ __forceinline__ void store(__half* p, float x) { *p = __float2half_rn(x); }
__device__ __forceinline__ void store(__nv_bfloat16* p, float x) { *p = __float2bfloat16_rn(x); }

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 16;

template <class T> __global__ void __launch_bounds__(kThreads) lstm_cell_kernel(Cell<T> p) {
  const int64_t stride = int64_t(gridDim.x) * kThreads;
  for (int64_t u = int64_t(blockIdx.x) * kThreads + threadIdx.x; u < p.units; u += stride) {
    const T* pre = p.pre + 4 * u;
    using A = decltype(widen(*pre));
    const Gates<A> a = activate<ScalarMath>(Gates<A>{widen(pre[0]), widen(pre[1]), widen(pre[2]), widen(pre[3])});
    const A c = next_c(a, widen(p.c_prev[u]));
    T* gates = p.gates + 4 * u;
    store(gates + 0, a.i);
    store(gates + 1, a.f);
    store(gates + 2, a.g);
    store(gates + 3, a.o);
    store(p.c + u, c);
    store(p.h + u, hidden_state<ScalarMath>(a, c));
  }
}

}  // namespace

template <class T> cudaError_t lstm_cell(const Cell<T>& p, cudaStream_t stream) {
  const int64_t blocks = std::min((p.units + kThreads - 1) / kThreads, kMaxBlocks);
  lstm_cell_kernel<T><<<unsigned(blocks), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}
template cudaError_t lstm_cell<float>(const Cell<float>&, cudaStream_t);
template cudaError_t lstm_cell<double>(const Cell<double>&, cudaStream_t);
template cudaError_t lstm_cell<__half>(const Cell<__half>&, cudaStream_t);
template cudaError_t lstm_cell<__nv_bfloat16>(const Cell<__nv_bfloat16>&, cudaStream_t);

}  // namespace pixelrnn::cuda
