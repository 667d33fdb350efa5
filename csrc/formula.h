// How a cell of five gates combines the states of its left and upper neighbours (cell5.h).
#pragma once

namespace pixelrnn {

enum class Formula {
  kStable,  // the mean of both states, weighted by the fifth gate
  kForget,  // the sum of both states, each times its forget gate, times a scale: 1 (Graves' cell) or 0.5
  kLeaky,   // LeakyLP: c is i * g + (1 - i) * kStable's mean; h is tanh(o * c + f * mean)
  kMax,     // only the state whose forget gate is larger, times this gate
};

// A cell of five gates: its formula, the scale of kForget, and the peepholes, null or [4][hidden] in the order i,
// f_left, f_up, o.
template <class S, class P = S> struct CellParameters {
  Formula formula = Formula::kStable;
  S scale = 1;
  const P* peephole = nullptr;
};

}  // namespace pixelrnn
