// How a cell of five gates combines the states of its left and upper neighbours (cell5.h).
#pragma once

namespace pixelrnn {

enum class Formula {
  kStable,  // the mean of both states, weighted by the fifth gate
  kForget,  // the sum of both states, each times its forget gate, times a scale: 1 (Graves' cell) or 0.5
  kLeaky,   // LeakyLP: the gate i mixes g and kStable's mean into c; h is tanh(o * c + f * mean)
  kMax,     // only the state whose forget gate is larger, times this gate
};

// A cell of five gates: its formula, the scale of kForget, and the peepholes [4][hidden] (i, f_left, f_up, o) or null.
template <class S, class P = S> struct CellParameters {
  Formula formula = Formula::kStable;
  S scale = 1;
  const P* peephole = nullptr;
};

}  // namespace pixelrnn
