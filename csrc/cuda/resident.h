// The resident path: one launch for the whole scan. Chooses the kernel for the current device, packs the weights, launches.
// No allocation, no synchronisation, no copy to the host: capturable in a CUDA graph.
#pragma once
#include <cuda_runtime_api.h>

#include "plan.h"

namespace pixelrnn::cuda {

// The device that is current, or the error of asking for it.
cudaError_t current_device(Device&);

// plan() for the current device, where its clusters also have to fit on it.
Plan plan_here(const Problem&, const Device&, Restriction = {});

cudaError_t pack(const PackArgs&, int directions, cudaStream_t);
cudaError_t forward(const Plan&, const ForwardArgs&, int directions, cudaStream_t);
cudaError_t backward(const Plan&, const BackwardArgs&, int directions, cudaStream_t);

}  // namespace pixelrnn::cuda
