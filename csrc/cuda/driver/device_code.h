// All GPU code of the extension, machine code and PTX. build_tools/device_code.py writes this table.
#pragma once

namespace pixelrnn::cuda {

struct DeviceCode {
  int capability;  // 90 means 9.0
  bool ptx;
  const char* kernels;  // names of all kernels in `data`, with a space before and after each
  const void* data;     // null in the entry that ends the table
};
extern const DeviceCode device_code[];
// The version of the compiler, 1000 * major + 10 * minor. Drivers of an older CUDA refuse the compiler's PTX.
extern const int compiler_version;

}  // namespace pixelrnn::cuda
