// What a user of the emulator fills in: which kernels there are, and which memory each launch may touch.
#pragma once
#include <vector_types.h>

#include <cstddef>
#include <vector>

namespace emulator {

enum class Access {
  in,   // a write is an error
  out,  // starts uninitialised: a read before a write is an error, and the launch must write all of it
  in_out,
};

struct Buffer {
  const void* data;  // null or 0 bytes: skipped
  size_t bytes;
  Access access;
  const char* name;
};

struct Kernel {
  const char* name;
  const void* entry;  // NAME_entry
  size_t args_bytes;  // a kernel takes one struct by value
  std::vector<Buffer> (*buffers)(const void* args, dim3 grid);
};

// A later kernel with the same entry replaces the earlier one.
void add_kernel(const Kernel&);

}  // namespace emulator
