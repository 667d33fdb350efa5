#pragma once
#include <string>

#include "plan.h"

namespace pixelrnn::cuda {

// The argument `path` of an operator. "step" launches a matrix product and a pointwise kernel for each line. "resident"
// computes a scan in one launch, or fails. "auto" takes the way that is estimated to be faster. "resident:8_4_256:4:2"
// asks for the kernel 8_4_256 (Variant::has_suffix), clusters of 4 blocks, and 2 groups of warps.
struct Path {
  bool step, resident;
  std::string variant;
  int blocks, groups;  // blocks of a cluster and groups of warps; 0 allows any number
  explicit Path(const std::string& text);
  // Restricts plan() for one pass. Throws std::runtime_error if no kernel has the suffix `variant`.
  Restriction restriction(Format format, bool backward, int gates = 4) const;
};

}  // namespace pixelrnn::cuda
