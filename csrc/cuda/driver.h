// The functions of the CUDA driver API that host code calls. driver.cpp looks them up in libcuda.so.1 at first use, so
// this module links to no CUDA library and serves every CUDA version of torch.
#pragma once
#include <cuda.h>

namespace pixelrnn::cuda {

// cuda.h renames some functions by macros, for example to cuDevicePrimaryCtxRelease_v2. driver.cpp looks up the new
// name.
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
// the device. A thread of autograd in which torch launched nothing has none.
CUresult enter(int device);

// Relaxes this thread's capture mode while the object lives, so that the thread can load kernels while a CUDA graph is
// captured. In the other modes the driver refuses to load code, and ends the capture.
class RelaxedCapture {
 public:
  RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  ~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode other_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // capture mode to change to, then the previous mode
};

// Sets `capability` to 10 * major + minor.
inline CUresult capability_of(CUdevice device, int& capability) {
  int major = 0, minor = 0;
  const auto ask = driver().cuDeviceGetAttribute;
  CUresult error = ask(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  if (!error) error = ask(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  capability = 10 * major + minor;
  return error;
}

}  // namespace pixelrnn::cuda
