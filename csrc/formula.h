// How a cell of five gates combines the states of its left and upper neighbours (cell5.h).
#pragma once

namespace pixelrnn {

enum class Formula {
  kStable,  // the mean of both states, weighted by the fifth gate
  kForget,  // a forget gate for each state; the sum times a scale, which is 1 (Graves' cell) or 0.5
  kLeaky,   // LeakyLP: c mixes g with the mean of kStable by the gate i, and h also reads the mean by the gate f
  kMax,     // only the state whose forget gate is larger
};

// A cell of five gates: its formula, the scale of kForget, and the peepholes [4][hidden] (i, f_left, f_up, o) or null.
template <class S, class P = S> struct Cell {
  Formula formula = Formula::kStable;
  S scale = 1;
  const P* peephole = nullptr;
};

}  // namespace pixelrnn
