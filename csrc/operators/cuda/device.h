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

// A torch without CUDA lacks this function, and has no tensor that needs it.
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
// Makes torch's current device current in the driver: in a thread without a context the first GPU, since a torch
// without CUDA refuses to answer.
inline CUresult enter_current_device() {
  CUcontext context = nullptr;
  if (const CUresult error = driver().cuCtxGetCurrent(&context)) return error;
  const bool chosen = context && aoti_torch_get_current_cuda_stream;
  return enter(chosen ? torch::stable::accelerator::getCurrentDeviceIndex() : 0);
}
}  // namespace pixelrnn::cuda

#endif
