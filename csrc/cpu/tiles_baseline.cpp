// Tiles for the instruction set that the compiler takes for granted (SSE2 on x86-64, NEON on AArch64).
#include "column_kernels.h"
#include "kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#define PIXELRNN_VECTOR_REGISTERS 16
#else
#define PIXELRNN_VECTOR_REGISTERS 32
#endif
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#include "tiles.h"
#include "column_tiles.h"

namespace pixelrnn::cpu {
template <class T> const Kernels<T>& baseline_kernels() { return baseline::Tiles<T>::table; }
template const Kernels<float>& baseline_kernels<float>();
template const Kernels<double>& baseline_kernels<double>();
template <class T> const ColumnKernels<T>& baseline_column_kernels() { return baseline::ColumnTiles<T>::table; }
template const ColumnKernels<float>& baseline_column_kernels<float>();
template const ColumnKernels<double>& baseline_column_kernels<double>();
}  // namespace pixelrnn::cpu
