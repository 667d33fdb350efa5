// The cells of LSTM2d by their names (pixelrnn_ext/cells.py has the formulas).
#pragma once
#include <torch/csrc/stable/library.h>

#include <string>

#include "../formula.h"

namespace pixelrnn {

struct Cell {
  const char* name;
  int gates;
  Formula formula;  // of five gates
  double scale;
  bool may_have_peepholes;
};

inline const Cell& cell_named(const std::string& name) {
  static const Cell cells[] = {
      {"pixelrnn", 4, Formula::kForget, 1, false},
      {"stable", 5, Formula::kStable, 1, false},
      {"graves", 5, Formula::kForget, 1, true},
      {"halved", 5, Formula::kForget, 0.5, true},
      {"leaky", 5, Formula::kLeaky, 1, false},
      {"max", 5, Formula::kMax, 1, false},
  };
  for (const Cell& cell : cells)
    if (name == cell.name) return cell;
  STD_TORCH_CHECK(false, "lstm2d_scan: no cell is named ", name);
}

}  // namespace pixelrnn
