// How a cell of five gates combines c of its left and its upper neighbour (cell5.h).
#pragma once

namespace pixelrnn {

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
