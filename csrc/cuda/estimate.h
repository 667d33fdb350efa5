// Estimates how long a scan takes in a resident kernel (one launch) or in the step path (two launches for each line).
// The cycles in costs.h come from a model until benchmarks/gpu_day measures them.
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;  // cycles of one line of the scan
  bool bound_by_memory = false;
};

Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// Estimates, without a GPU, how many clusters (or blocks, if the kernel has no clusters) run at the same time. Returns
// 0 if none fits.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

Device known_device(int capability);

}  // namespace pixelrnn::cuda
