// Lets a thread load kernels, and ask the device about them, while a CUDA graph is captured.
#pragma once
#include <cuda_runtime_api.h>

namespace pixelrnn::cuda {

// The thread's capture mode is relaxed as long as this lives. In the other modes the runtime refuses a call that loads
// a kernel, as the first question about a kernel and its first launch do, and breaks the capture off.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&other_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&other_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode other_ = cudaStreamCaptureModeRelaxed;  // the mode to change to, afterwards the mode before
};

}  // namespace pixelrnn::cuda
