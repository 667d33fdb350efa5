// Lets a thread load kernels, and ask the device about them, while a CUDA graph is captured.
#pragma once
#include "driver.h"

namespace pixelrnn::cuda {

// The thread's capture mode is relaxed as long as this lives. In the other modes the driver refuses a call that loads
// code, and breaks the capture off.
class RelaxedCapture {
 public:
  RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  ~RelaxedCapture() { driver().cuThreadExchangeStreamCaptureMode(&other_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  CUstreamCaptureMode other_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // the mode to change to, afterwards the mode before
};

}  // namespace pixelrnn::cuda
