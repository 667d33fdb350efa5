// The resident path computes a scan in one kernel launch. CUDA graphs can capture it, because it neither allocates nor
// copies memory, and does not wait for the GPU.
#pragma once
#include <cuda.h>

#include "plan.h"

namespace pixelrnn::cuda {

// Writes the properties of the current GPU, and returns the driver's error code. Throws std::runtime_error if the
// extension has no code for the GPU.
CUresult current_device(Device&);

// Makes the plan of a scan. The driver tells how many blocks or clusters the current GPU runs at the same time, so
// `Device` must describe this GPU.
CUresult plan_on_current_device(const Problem&, const Device&, const Restriction&, Plan&);

CUresult pack(const PackArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs&, int directions, CUstream);
CUresult forward(const Plan&, const ForwardArgs5&, int directions, CUstream);
CUresult backward(const Plan&, const BackwardArgs5&, int directions, CUstream);

}  // namespace pixelrnn::cuda
