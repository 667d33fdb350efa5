// Loads kernels from the extension's table of machine code and PTX (device_code.h).
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Loads the kernel with this name into the current CUDA context, also during the capture of a CUDA graph. Allows the
// kernel all shared memory that a block may have.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability of the code that a GPU of compute capability `capability` runs. The result may be less
// than `capability`, and is 0 if the extension has no code for the GPU.
int code_capability(int capability);

std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
