#pragma once
#include <cstdint>

#include "kernels.h"
#include "team.h"

namespace pixelrnn::cpu {

// The approximate number of output pixels whose operand pointers are computed at a time.
constexpr int kRunCells = 112;

// Multiplies the `depth` values that each cell (output pixel) reads by the packed weight. y is [cells][outputs].
template <class T> void convolve_rows(const ConvolutionKernels<T>& k, const Cells<T>& cells, int outputs,
    const T* packed, int64_t depth, bool relu, T* y, T* scratch) {
  const int groups = (cells.count + k.max_cells - 1) / k.max_cells;
  for (int o0 = 0; o0 < outputs; o0 += k.call_outputs(outputs, o0))
    for (int g = 0; g < groups; ++g) {
      const int first = share(cells.count, g, groups), last = share(cells.count, g + 1, groups);
      k.convolve(cells, first, last - first, outputs, o0, packed + o0 * depth, relu, y, scratch);
    }
}

}  // namespace pixelrnn::cpu
