// Functions of the CUDA driver API. driver.cpp looks them up in libcuda.so.1, so that the extension links
// to no CUDA library and serves every CUDA version of torch.
#pragma once
#include <cuda.h>

namespace pixelrnn::cuda {

// Macros in cuda.h rename some functions, such as cuDevicePrimaryCtxRelease_v2. driver.cpp looks up the new names.
// clang-format off
#define PIXELRNN_DRIVER(F) \
  F(cuInit) F(cuGetErrorString) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetAttribute) \
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

// Returns the initialised driver. Throws std::runtime_error without a driver of version 525 or later, or without a GPU.
// The next call tries again.
const Driver& driver();

// Makes the device's primary context, which torch uses too, current in this thread, unless the thread has a context of
// the device. An autograd thread in which torch launched nothing has no context.
CUresult make_current(int device);

// Relaxes this thread's capture mode while the object lives, so that the thread can load kernels while a CUDA graph is
// captured. In the other capture modes the driver refuses to load code, and ends the capture.
class RelaxedCapture {
 public:
  RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // swapped with the thread's mode, and swapped back
};

// Sets `capability` to 10 * major + minor.
inline CUresult capability_of(CUdevice device, int& capability) {
  int major = 0, minor = 0;
  const auto get_attribute = driver().cuDeviceGetAttribute;
  CUresult error = get_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  if (!error) error = get_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  capability = 10 * major + minor;
  return error;
}

}  // namespace pixelrnn::cuda
