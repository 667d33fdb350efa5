// Estimates how long a scan takes in a resident kernel (one launch) or in the step path (two launches for each line).
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;  // cycles of one line
  bool bound_by_memory = false;
};

Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// A Concurrency function (plan.h) that needs no GPU.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

Device known_device(int capability);

}  // namespace pixelrnn::cuda
