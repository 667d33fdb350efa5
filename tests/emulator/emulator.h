// Host code must define buffers_of(), which lists all global memory that a launch may access.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace emulator {

enum class Access {
  in,  // read only
  // The launch must write the whole buffer. A read before a write is an error.
  out,
  in_out,
};

struct Buffer {
  const void* data;  // null or empty buffers are ignored
  size_t bytes;
  Access access;
  const char* name;
};

// `args` points to the kernel's struct of arguments.
std::vector<Buffer> buffers_of(const std::string& kernel, const void* args, dim3 grid);

}  // namespace emulator
