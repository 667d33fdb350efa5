// The resident path computes a scan in one launch. CUDA graphs can capture it: it does not allocate, copy or wait.
#pragma once
#include <cuda.h>

#include "plan.h"

namespace pixelrnn::cuda {

// Describes the current device. Throws std::runtime_error if the extension has no code for it.
CUresult current_device(Device&);

// Calls plan() with the concurrency that the driver reports. The Device has to describe the current device.
CUresult plan_on_current_device(const Problem&, const Device&, const Restriction&, Plan&);

CUresult pack(const PackArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs5&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs5&, int directions, CUstream);

}  // namespace pixelrnn::cuda
