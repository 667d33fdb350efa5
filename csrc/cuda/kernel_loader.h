// Loads kernels from the extension's table of machine code and PTX (device_code.h).
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Loads a kernel into the current CUDA context, even during the capture of a CUDA graph, and allows it all shared
// memory of a block.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the code that a GPU of this compute capability runs, or 0 if there is none.
int code_capability(int capability);

std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
