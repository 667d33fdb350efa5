// Host code that uses the emulator must define buffers_of(), which lists the memory that a launch may access.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace emulator {

enum class Access {
  in,  // the launch may only read the buffer
  // The launch must write the whole buffer. A read before a write is an error.
  out,
  in_out,
};

struct Buffer {
  const void* data;  // an empty buffer, or a null pointer, is ignored
  size_t bytes;
  Access access;
  const char* name;
};

// Returns all global memory that a launch of `kernel` may access. `args` points to the kernel's struct of arguments.
std::vector<Buffer> buffers_of(const std::string& kernel, const void* args, dim3 grid);

}  // namespace emulator
