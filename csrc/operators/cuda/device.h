// Selects the device and the stream of an operator's tensors.
#pragma once
#include <cuda.h>
#include <torch/csrc/stable/tensor.h>

#if defined(PIXELRNN_EMULATED)  // tests/emulator: CPU tensors, no device, one stream

namespace pixelrnn::cuda {
struct OnDeviceOf {
  explicit OnDeviceOf(const torch::stable::Tensor&) {}
  CUstream stream() const { return nullptr; }
};
inline CUresult enter_current_device() { return CUDA_SUCCESS; }
}  // namespace pixelrnn::cuda

#else
#include <torch/csrc/stable/accelerator.h>

#include "tensors.h"

// Weak, because a torch without CUDA lacks this function. Such a torch has no CUDA tensor, and no call follows.
#pragma weak aoti_torch_get_current_cuda_stream

namespace pixelrnn::cuda {
// Makes the tensor's device current while this object lives.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const torch::stable::Tensor& t) : index_(t.get_device_index()), guard_(index_) {
    check(enter(index_));
  }
  CUstream stream() const {
    void* stream = nullptr;
    STD_TORCH_CHECK(aoti_torch_get_current_cuda_stream, "pixelrnn_ext: torch has no CUDA stream for a tensor of CUDA");
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    return static_cast<CUstream>(stream);
  }

 private:
  torch::stable::accelerator::DeviceIndex index_;
  torch::stable::accelerator::DeviceGuard guard_;
};
// Makes torch's current device current in the driver. A thread without a context takes the first GPU and does not ask
// torch: a torch without CUDA throws.
inline CUresult enter_current_device() {
  CUcontext context = nullptr;
  if (const CUresult error = driver().cuCtxGetCurrent(&context)) return error;
  const bool chosen = context && aoti_torch_get_current_cuda_stream;
  return enter(chosen ? torch::stable::accelerator::getCurrentDeviceIndex() : 0);
}
}  // namespace pixelrnn::cuda

#endif
