// Estimates how long a scan takes in the resident kernels and in the step path: a model, unless costs.h was measured.
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;  // cycles of a line
  bool bound_by_memory = false;
};

// Estimates the time of a kernel. `concurrency` is the number of clusters, or single blocks, that run at once.
Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// Estimates the concurrency without a GPU, by the registers in costs.h. 0: no cluster fits.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

// Returns the best-known card of a compute capability.
Device known_device(int capability);

// Returns the source of costs.h: "a model, NVRTC ...", or "measurements on ...".
const char* cost_source();

}  // namespace pixelrnn::cuda
