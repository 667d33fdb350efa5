// One scan on a GPU: its sizes, the type of its maps, the paths that may run it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "../../cuda/path.h"
#include "../../geometry.h"
#include "tensors.h"

namespace pixelrnn::cuda {

using torch::headeronly::ScalarType;

constexpr int kMostDirections = 4;

// Of the cell state and of the activated gates, by the type of the maps.
inline ScalarType cell_state_type(ScalarType t) { return t == ScalarType::Double ? t : ScalarType::Float; }
inline ScalarType gates_type(ScalarType t) { return t == ScalarType::BFloat16 ? ScalarType::Half : t; }

struct Scan {
  const char* name;  // of the operator
  int64_t directions, images, height, width, hidden, taps;
  bool diagonal, tf32;
  ScalarType type;
  Corner corner[kMostDirections];
  int gates = 4;

  void check_type() const;
  void check_sizes() const;  // that its lines and maps are not too large, and its taps those of its kind
  void check_tensor(
      const char* tensor, const Optional& t, const std::vector<int64_t>& sizes, ScalarType expected) const;

  bool empty() const { return images * height * width * hidden == 0; }
  int pixels() const { return int(height * width); }
  int64_t columns() const { return gates * hidden; }  // of a pixel's row
  Geometry geometry(int direction) const {
    return diagonal ? Geometry::diagonal(int(height), int(width), corner[direction])
                    : Geometry::row(int(height), int(width), corner[direction]);
  }

  Problem problem(Format, bool backward) const;
  std::optional<Format> format() const;
  // The resident plan for this pass, or none for the step path. `refusal`: why none can be, where that is known.
  Plan choose(const Path&, bool backward, const std::string& refusal = "") const;
  // Each pass packs its own layout, when it is called: the backward is another call of an operator, which the forward
  // knows nothing of (there may be none, or several), and what it would have to save for it is as large as the weights.
  Tensor packed_weight(const Plan&, const Tensor& weight, CUstream) const;
};

}  // namespace pixelrnn::cuda
