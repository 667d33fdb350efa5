// The cells of LSTM2d by their names (pixelrnn_ext/cells.py has the formulas), and the corners of its directions.
#pragma once
#include <torch/csrc/stable/library.h>

#include <string>
#include <vector>

#include "../formula.h"
#include "../geometry.h"

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

// Where each direction starts: corners are 2 at the bottom plus 1 at the right.
template <int MOST> void read_corners(const std::vector<int64_t>& from, int64_t directions, Corner (&to)[MOST]) {
  STD_TORCH_CHECK(directions >= 1 && directions <= MOST && directions == int64_t(from.size()),
      "lstm2d_scan: expected 1 to ", MOST, " directions and a corner of each, got ", directions, " and ", from.size());
  for (int64_t d = 0; d < directions; ++d) {
    STD_TORCH_CHECK(from[d] >= 0 && from[d] < 4, "lstm2d_scan: expected corners from 0 to 3, got ", from[d]);
    to[d] = {from[d] >= 2, from[d] % 2 == 1};
  }
}

}  // namespace pixelrnn
