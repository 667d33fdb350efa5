// Loads kernels into the current context, from the code in this module (device_code.h).
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Loads a kernel into the current context, and allows it all shared memory of a block. May be called while a CUDA graph
// is captured.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the code that a GPU runs. PTX may be older than the GPU. 0: this module has no code
// for the GPU.
int code_capability(int capability);

// Returns the sentence of an error for a GPU that this module has no code for.
std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
