// Tiles for NEON, which every AArch64 has: 32 registers of 16 bytes, with fused multiply-add.
#include "../kernels.h"
#if defined(__aarch64__)
#define PIXELRNN_ISA neon
#define PIXELRNN_VECTOR_BYTES 16
#define PIXELRNN_VECTOR_REGISTERS 32
#include "table.h"

namespace pixelrnn::cpu {
template <class T> const Kernels<T>& neon_kernels() { return neon::Table<T>::kernels; }
template const Kernels<float>& neon_kernels<float>();
template const Kernels<double>& neon_kernels<double>();
}  // namespace pixelrnn::cpu
#endif
