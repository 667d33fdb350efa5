#pragma once
#include <string>

#include "plan.h"

namespace pixelrnn::cuda {

// The argument `path` of an operator. "step" launches a matrix product and a pointwise kernel for each line. "resident"
// computes each scan in one launch, or fails. "auto" takes the way that should be faster. "resident:8_4_256:4:2" asks
// for the kernel 8_4_256 (Variant::has_suffix), for clusters of 4 blocks, and for 2 groups of warps.
struct Path {
  bool step, resident;
  std::string variant;
  int blocks, groups;  // required blocks of a cluster and groups of warps; 0 allows any number
  // Throws std::runtime_error if the text is not a valid path.
  explicit Path(const std::string& text);
  // Restricts plan() for one pass. Throws std::runtime_error if no kernel has the name in `variant`.
  Restriction restriction(Format format, bool backward, int gates = 4) const;
};

}  // namespace pixelrnn::cuda
