// The machine code and the PTX of the kernels, as data of this module. build_tools/device_code.py writes the table.
#pragma once

namespace pixelrnn::cuda {

struct DeviceCode {
  int capability;       // 90 is compute capability 9.0
  bool ptx;             // PTX, which the driver translates; otherwise machine code
  const char* kernels;  // the names of its kernels, each with a space on both sides
  const void* data;     // null in the entry that ends the table
};
extern const DeviceCode device_code[];

}  // namespace pixelrnn::cuda
