// Computes a scan in one launch. CUDA graphs can capture it, because it neither allocates nor copies memory, and does
// not wait for the GPU.
#pragma once
#include <cuda.h>

#include "plan.h"

namespace pixelrnn::cuda {

// Returns the driver's error. Throws std::runtime_error if the extension has no code for the GPU.
CUresult current_device(Device&);

// Asks the driver, so `Device` must be the current GPU.
CUresult plan_on_current_device(const Problem&, const Device&, const Restriction&, Plan&);

CUresult pack(const PackArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs5&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs5&, int directions, CUstream);

}  // namespace pixelrnn::cuda
