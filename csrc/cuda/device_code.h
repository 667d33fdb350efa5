// The extension's table of machine code and PTX, which build_tools/device_code.py writes.
#pragma once

namespace pixelrnn::cuda {

struct DeviceCode {
  int capability;       // 90 is compute capability 9.0
  bool ptx;             // `data` is PTX, not machine code
  const char* kernels;  // kernels' names, each with a space on both sides
  const void* data;     // null at the table's end
};
extern const DeviceCode device_code[];

}  // namespace pixelrnn::cuda
