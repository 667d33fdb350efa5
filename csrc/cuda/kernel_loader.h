// Loads kernels from the table in device_code.h.
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Loads a kernel into the current CUDA context, even during the capture of a CUDA graph.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the machine code or PTX that a GPU of the given compute capability runs. Returns 0
// if the extension has no code for this GPU.
int code_capability(int capability);

std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
