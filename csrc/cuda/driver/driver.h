// The CUDA driver API, looked up in libcuda.so.1 at run time. So the extension links to no CUDA library, and works with
// every CUDA version of torch.
#pragma once
#include <cuda.h>

namespace pixelrnn::cuda {

// Macros in cuda.h replace some of these names by newer ones. driver.cpp looks up the newer names.
// clang-format off
#define PIXELRNN_DRIVER(F) \
  F(cuInit) F(cuDriverGetVersion) F(cuGetErrorString) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetAttribute) \
  F(cuDevicePrimaryCtxRetain) F(cuCtxSetCurrent) F(cuCtxGetDevice) F(cuCtxGetCurrent) F(cuCtxGetId) \
  F(cuModuleLoadData) F(cuModuleGetFunction) F(cuFuncGetAttribute) F(cuFuncSetAttribute) \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessor) F(cuOccupancyMaxActiveClusters) F(cuLaunchKernelEx) \
  F(cuThreadExchangeStreamCaptureMode)
// clang-format on

struct Driver {
#define MEMBER(name) decltype(&::name) name;
  PIXELRNN_DRIVER(MEMBER)
#undef MEMBER
};

// The first call loads NVIDIA's driver. Throws std::runtime_error if there is no GPU, or no driver of version 525 or
// later. After an error the next call tries again.
const Driver& driver();

// Makes the device's primary context current, unless the thread has a context of the device. A thread of torch's
// autograd may have none.
CUresult make_current(int device);

// Lets this thread load kernels during the capture of a CUDA graph. Otherwise the driver would refuse, and end the
// capture.
class RelaxedCapture {
 public:
  RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

inline CUresult capability_of(CUdevice device, int& capability) {
  int major = 0, minor = 0;
  const auto get_attribute = driver().cuDeviceGetAttribute;
  CUresult error = get_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  if (!error) error = get_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  capability = 10 * major + minor;
  return error;
}

}  // namespace pixelrnn::cuda
