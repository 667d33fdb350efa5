// Estimates how long a scan takes in a resident kernel (one launch) and in the step path (two launches a line).
// Estimates are a model, unless costs.h was measured.
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;  // of a line
  bool bound_by_memory = false;
};

Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// Estimates Plan::concurrency without a GPU, by the registers in costs.h. Returns 0 if no cluster fits.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

// Returns the best-known card of a compute capability.
Device known_device(int capability);

}  // namespace pixelrnn::cuda
