// How long a scan should take: the resident kernels in a layout, and the step path. To choose by; a model, unless
// costs.h was measured.
#pragma once
#include <cstdint>

#include "plan.h"

namespace pixelrnn::cuda {

struct Estimate {
  double seconds = 0;
  double cycles = 0;  // of a line
  bool bound_by_memory = false;
};

// `concurrency`: so many clusters of the layout, or single blocks, run at once.
Estimate estimate(const Problem&, const Device&, const Variant&, const Tiling&, int64_t concurrency, const Constants&);
double estimate_step(const Problem&, const Device&, const Constants&);

// The concurrency of a card that cannot be asked, by the registers of costs.h. 0: it has no room for one.
int64_t estimated_concurrency(const Device&, const Variant&, const Tiling&, int shared_memory);

// The best-known card of a capability.
Device known_device(int capability);

// Where the figures come from: "a model, NVRTC ...", or "measurements on ...".
const char* cost_source();

}  // namespace pixelrnn::cuda
