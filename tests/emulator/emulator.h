// Host code defines buffers_of(), which lists the memory that a launch may access.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace emulator {

enum class Access {
  in,   // a write is an error
  out,  // starts uninitialised: a read before a write is an error, and the launch must write all of it
  in_out,
};

struct Buffer {
  const void* data;  // a null or empty buffer is ignored
  size_t bytes;
  Access access;
  const char* name;
};

// args: the struct that the kernel takes by value.
std::vector<Buffer> buffers_of(const std::string& kernel, const void* args, dim3 grid);

}  // namespace emulator
