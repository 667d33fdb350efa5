// The functions of the CUDA driver API that host code calls. driver.cpp looks them up in libcuda.so.1 at first use, so
// this module links to no CUDA library and serves every CUDA that torch is built for. tests/helpers/emulated has its
// own table.
#pragma once
#include <cuda.h>

namespace pixelrnn::cuda {

// cuda.h renames some functions by macros to their newest version, such as cuDevicePrimaryCtxRelease_v2. The renamed
// function is the one that driver.cpp looks up.
// clang-format off
#define PIXELRNN_DRIVER(F)                                                                                   \
  F(cuInit) F(cuGetErrorString) F(cuDeviceGetCount) F(cuDeviceGet) F(cuDeviceGetAttribute)                   \
  F(cuDevicePrimaryCtxRetain) F(cuCtxSetCurrent) F(cuCtxGetDevice) F(cuCtxGetCurrent) F(cuCtxGetId)          \
  F(cuModuleLoadData) F(cuModuleGetFunction) F(cuFuncGetAttribute) F(cuFuncSetAttribute)                     \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessor) F(cuOccupancyMaxActiveClusters) F(cuLaunchKernelEx)         \
  F(cuThreadExchangeStreamCaptureMode)
// clang-format on

struct Driver {
#define MEMBER(name) decltype(&::name) name;
  PIXELRNN_DRIVER(MEMBER)
#undef MEMBER
};

// Returns the initialised driver. Throws std::runtime_error, whose text is one sentence, where there is no driver, an
// older driver than 525 or no GPU. The next call tries again.
const Driver& driver();

// Makes a context of the device current in this thread, unless one is already: a thread that torch has launched nothing
// in, such as a thread of autograd, has no context. The context is the primary context, which torch uses too.
CUresult enter(int device);

// Lets this thread load kernels, and ask the device about them, while a CUDA graph is captured: its capture mode is
// relaxed as long as this lives. In the other modes the driver refuses a call that loads code, and breaks the capture
// off.
class RelaxedCapture {
 public:
  RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  ~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode other_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // the mode to change to, afterwards the mode before
};

// Gives a device's compute capability, 10 * major + minor.
inline CUresult capability_of(CUdevice device, int& capability) {
  int major = 0, minor = 0;
  const auto ask = driver().cuDeviceGetAttribute;
  CUresult error = ask(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
  if (!error) error = ask(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
  capability = 10 * major + minor;
  return error;
}

}  // namespace pixelrnn::cuda
