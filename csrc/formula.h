// How a cell of five gates, which carries on the states of both neighbours, joins them (cell5.h).
#pragma once

namespace pixelrnn {

enum class Formula {
  kStable,  // the mean of both states that the fifth gate weighs
  kForget,  // a forget gate for each state, their sum times a scale: Graves' cell, or half of the sum
  kLeaky,   // LeakyLP: the fifth gate weighs as in kStable, the first one leaks, the second one lets the mean out
  kMax,     // the state of the larger forget gate
};

// A cell of five gates: its formula, the scale of kForget, and the peepholes [4][hidden] (i, f_left, f_up, o), or null.
template <class S, class P = S> struct Cell {
  Formula formula = Formula::kStable;
  S scale = 1;
  const P* peephole = nullptr;
};

}  // namespace pixelrnn
