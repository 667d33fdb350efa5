// Kernels from the extension's table of code (device_code.h).
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Loads a kernel into the current context, and allows it all shared memory of a block, also while a graph is captured.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the code that a GPU runs, or 0 without such code. PTX may be older than the GPU.
int code_capability(int capability);

// Returns the error message for a GPU that the extension has no code for.
std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
