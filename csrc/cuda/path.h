// The argument `path` of an operator: how to compute a scan.
#pragma once
#include <string>

#include "plan.h"

namespace pixelrnn::cuda {

// "step" launches a matrix product and a kernel for each line. "resident" uses kernels that compute a scan in one
// launch, in both passes, or fails. "auto" uses these kernels where they run and should be faster.
// "resident:8_4_256:4:2" uses the variant of that name (Variant::has_suffix) where a pass has it, clusters of 4 blocks,
// and 2 groups of warps along the line. A field may be empty.
struct Path {
  bool step, resident;  // whether the path is forced
  std::string variant;
  int blocks, groups;  // 0: any number
  // Throws std::runtime_error.
  explicit Path(const std::string& text);
  // Returns the restriction for one pass. Throws std::runtime_error if no kernel has the variant's name.
  Restriction restriction(Format format, bool backward, int gates = 4) const;
};

}  // namespace pixelrnn::cuda
