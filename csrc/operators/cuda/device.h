#pragma once
#include <cuda.h>
#include <torch/csrc/stable/tensor.h>

// The tests' emulator has no devices to switch, and only one stream.
#if defined(PIXELRNN_EMULATED)

namespace pixelrnn::cuda {
struct DeviceScope {
  explicit DeviceScope(const torch::stable::Tensor&) {}
  CUstream stream() const { return nullptr; }
};
inline CUresult enter_current_device() { return CUDA_SUCCESS; }
}  // namespace pixelrnn::cuda

#else
#include <torch/csrc/stable/accelerator.h>

#include "tensors.h"

// Weak, so that the library also loads beside a torch without CUDA, which lacks the function.
#pragma weak aoti_torch_get_current_cuda_stream

namespace pixelrnn::cuda {
class DeviceScope {
 public:
  explicit DeviceScope(const torch::stable::Tensor& t) : index_(t.get_device_index()), guard_(index_) {
    check(make_current(index_));
  }
  CUstream stream() const {
    void* stream = nullptr;
    STD_TORCH_CHECK(
        aoti_torch_get_current_cuda_stream, "pixelrnn_ext: expected a torch with CUDA streams for a CUDA tensor");
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    return static_cast<CUstream>(stream);
  }

 private:
  torch::stable::accelerator::DeviceIndex index_;
  torch::stable::accelerator::DeviceGuard guard_;
};
// Makes torch's current GPU current in NVIDIA's driver. Chooses the first GPU if this thread has no CUDA context or
// torch lacks CUDA.
inline CUresult enter_current_device() {
  CUcontext context = nullptr;
  if (const CUresult error = driver().cuCtxGetCurrent(&context)) return error;
  const bool chosen = context && aoti_torch_get_current_cuda_stream;
  return make_current(chosen ? torch::stable::accelerator::getCurrentDeviceIndex() : 0);
}
}  // namespace pixelrnn::cuda

#endif
