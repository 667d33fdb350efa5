// Tiles for the instruction set that the compiler takes for granted, with registers that every processor has.
#include "../kernels.h"
#define PIXELRNN_ISA baseline
#define PIXELRNN_VECTOR_BYTES 16
#define PIXELRNN_VECTOR_REGISTERS 16
#include "table.h"

namespace pixelrnn::cpu {
template <class T> const Kernels<T>& baseline_kernels() { return baseline::Table<T>::kernels; }
template const Kernels<float>& baseline_kernels<float>();
template const Kernels<double>& baseline_kernels<double>();
}  // namespace pixelrnn::cpu
