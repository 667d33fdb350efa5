// Loads kernels into the current context, from the code in this module (device_code.h).
#pragma once
#include <string>

#include "driver.h"

namespace pixelrnn::cuda {

// Gives the kernel of a name in the current context, loaded, and allowed all the shared memory that a block can have.
// May be called while a CUDA graph is captured.
CUresult load_kernel(const std::string& name, CUfunction& kernel);

// Returns the compute capability that the code for a GPU was compiled for, which PTX may be older than the GPU. 0: this
// module has no code for the GPU.
int code_capability(int capability);

// Returns one sentence on a GPU that this module has no code for.
std::string why_no_code(int capability);

}  // namespace pixelrnn::cuda
