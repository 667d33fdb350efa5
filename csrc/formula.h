// How a cell of five gates combines c of its left and its upper neighbour (cell5.h).
#pragma once
#include <cstdint>

#include "host_device.h"

namespace pixelrnn {

// Tells whether c of a cell also depends on c of the cell above. Each cell with a fifth gate is such a cell.
constexpr PIXELRNN_HOST_DEVICE bool carries_up(int64_t gates) { return gates == 5; }

enum class Formula {
  kStable,  // the mean of the neighbours' c, weighted by the fifth gate
  // The sum of the neighbours' c, each times its own forget gate, times CellParameters::scale, which is 1 (Graves'
  // cell) or 0.5.
  kForget,
  // LeakyLP. m is the weighted mean of the neighbours' c, as in kStable. c is i * g + (1 - i) * m, and h is tanh(o * c
  // + f * m).
  kLeaky,
  kMax,  // c of the neighbour whose forget gate is larger, times this gate
};

// `scale` multiplies the sum of kForget, and is 1 for other formulas. The peephole weights are null or [4][hidden], in
// the order i, f_left, f_up, o.
template <class S, class P = S> struct CellParameters {
  Formula formula = Formula::kStable;
  S scale = 1;
  const P* peephole = nullptr;
};

}  // namespace pixelrnn
