// The path that an operator is asked to take, by the text that is its argument.
#pragma once
#include <string>

#include "plan.h"

namespace pixelrnn::cuda {

// "auto" (resident where it runs and should be faster), "step", or "resident" (both passes, or an error);
// "resident:8_4_256:4:2" is the variant of that name (Variant::is), where the pass has one, in clusters of 4 blocks
// with 2 groups of warps along the line. A field may be empty.
struct Path {
  bool step, resident;  // forced
  std::string variant;
  int blocks, groups;  // 0: any

  // Throws std::runtime_error, as torch's own checks do.
  explicit Path(const std::string& text);
  // Returns the restriction of one pass. Throws std::runtime_error where no kernel has the variant's name.
  Restriction restriction(Format format, bool backward, int gates = 4) const;
};

}  // namespace pixelrnn::cuda
