// How a cell of LSTM2d, which carries on the states of both neighbours, joins them (cell2d.h).
#pragma once

namespace pixelrnn {

enum class Formula {
  kStable,  // the mean of both states that the fifth gate weighs
  kForget,  // a forget gate for each state, their sum times a scale: Graves' cell, or half of the sum
  kLeaky,   // LeakyLP: the fifth gate weighs as in kStable, the first one leaks, the second one lets the mean out
  kMax,     // the state of the larger forget gate
};

}  // namespace pixelrnn
