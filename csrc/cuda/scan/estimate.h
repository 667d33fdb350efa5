// Estimates the time of a scan in one launch (a resident kernel), or with two launches for each line (the step path).
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;
  bool bound_by_memory = false;
};

Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// A Concurrency function (plan.h) that asks no GPU.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

Device known_device(int capability);

}  // namespace pixelrnn::cuda
