// The resident path: one launch for the whole scan. Chooses the kernel for the current device, packs the weights,
// launches. No allocation, no synchronisation, no copy to the host: capturable in a CUDA graph.
#pragma once
#include <cuda.h>

#include "plan.h"

namespace pixelrnn::cuda {

// Describes the current device. Throws std::runtime_error, whose text is one sentence, where this module has no code
// for it.
CUresult current_device(Device&);

// plan() by what the current device, described by the second argument, says that it runs at once.
CUresult plan_here(const Problem&, const Device&, const Restriction&, Plan&);

CUresult pack(const PackArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs&, int directions, CUstream);
// For a plan of five gates, with up to four directions.
CUresult forward(const Plan&, const ForwardArgs5&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs5&, int directions, CUstream);

}  // namespace pixelrnn::cuda
