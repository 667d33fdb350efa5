// Loads kernels from the table in device_code.h.
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Tells whether load_kernel() found no code for the GPU, or PTX that the driver's compiler fails on.
inline bool is_without_code(CUresult error) {
  return error == CUDA_ERROR_NO_BINARY_FOR_GPU || error == CUDA_ERROR_INVALID_PTX ||
         error == CUDA_ERROR_UNSUPPORTED_PTX_VERSION || error == CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
}

// Loads a kernel into the current CUDA context, even during the capture of a CUDA graph.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the machine code or PTX that a GPU of the given compute capability runs. Returns 0
// if the extension lacks code of the step path for this GPU, which every layer may need.
int code_capability(int capability);

// Like code_capability(), but for one kernel on the current GPU. The build may have left out a file of kernels for a
// GPU, whose kernels then run PTX of a lower capability, or have no code. Kernels for clusters need 90 or more, other
// resident kernels 80 or more, because their code for lower capabilities does nothing.
CUresult kernel_capability(const std::string& name, int& capability);

std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
