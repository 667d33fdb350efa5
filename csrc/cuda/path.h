// The path that an operator's argument asks for.
#pragma once
#include <string>

#include "plan.h"

namespace pixelrnn::cuda {

// "auto" takes resident kernels where they run and should be faster. "step" takes the step path. "resident" takes
// resident kernels in both passes, or fails. "resident:8_4_256:4:2" takes the variant of that name (Variant::is) where
// a pass has it, in clusters of 4 blocks with 2 groups of warps along the line. A field may be empty.
struct Path {
  bool step, resident;  // whether the path is forced
  std::string variant;
  int blocks, groups;  // 0: any number
  // Throws std::runtime_error, as torch's own checks do.
  explicit Path(const std::string& text);
  // Returns the restriction of a pass. Throws std::runtime_error if no kernel has the variant's name.
  Restriction restriction(Format format, bool backward, int gates = 4) const;
};

}  // namespace pixelrnn::cuda
