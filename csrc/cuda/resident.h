// The resident path: one launch for the whole scan. Chooses the kernel for the current device, packs the weights,
// launches. No allocation, no synchronisation, no copy to the host: capturable in a CUDA graph.
#pragma once
#include <cuda_runtime_api.h>

#include "plan.h"

namespace pixelrnn::cuda {

// The device that is current, or the error of asking for it.
cudaError_t current_device(Device&);

// plan() by what the current device, described by the second argument, says that it runs at once.
cudaError_t plan_here(const Problem&, const Device&, const Restriction&, Plan&);

cudaError_t pack(const PackArgs&, int directions, cudaStream_t);
cudaError_t forward(const Plan&, const ForwardArgs&, int directions, cudaStream_t);
cudaError_t backward(const Plan&, const BackwardArgs&, int directions, cudaStream_t);
// Of a plan of five gates, up to four directions.
cudaError_t forward(const Plan&, const ForwardArgs2d&, int directions, cudaStream_t);
cudaError_t backward(const Plan&, const BackwardArgs2d&, int directions, cudaStream_t);

}  // namespace pixelrnn::cuda
