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

}  // namespace pixelrnn::cuda
