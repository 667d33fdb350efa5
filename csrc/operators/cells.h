// The cells of LSTM2d by their names (pixelrnn_ext/cells.py has the formulas).
#pragma once
#include <torch/csrc/stable/library.h>

#include <string>

#include "../formula.h"

namespace pixelrnn {

struct NamedCell {
  const char* name;
  int gates;
  Formula formula;  // of five gates
  double scale;
  bool may_have_peepholes;
};

inline const NamedCell& cell_named(const std::string& name) {
  static const NamedCell cells[] = {
      {"pixelrnn", 4, Formula::kForget, 1, false},
      {"stable", 5, Formula::kStable, 1, false},
      {"graves", 5, Formula::kForget, 1, true},
      {"halved", 5, Formula::kForget, 0.5, true},
      {"leaky", 5, Formula::kLeaky, 1, false},
      {"max", 5, Formula::kMax, 1, false},
  };
  for (const NamedCell& cell : cells)
    if (name == cell.name) return cell;
  STD_TORCH_CHECK(false, "scan: expected the name of a cell, got ", name);
}

}  // namespace pixelrnn
