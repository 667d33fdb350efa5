// The resident path: one launch for the whole scan. It neither allocates, synchronises nor copies to the host, so a
// CUDA graph can capture it.
#pragma once
#include <cuda.h>

#include "plan.h"

namespace pixelrnn::cuda {

// Describes the current device. Throws std::runtime_error if this module has no code for it.
CUresult current_device(Device&);

// Runs plan() with the concurrency that the current device reports. The Device describes the same device.
CUresult plan_here(const Problem&, const Device&, const Restriction&, Plan&);

CUresult pack(const PackArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs&, int directions, CUstream);
// These overloads are for cells of five gates.
CUresult forward(const Plan&, const ForwardArgs5&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs5&, int directions, CUstream);

}  // namespace pixelrnn::cuda
