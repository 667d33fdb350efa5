// The device and the stream that an operator's tensors live on.
#pragma once
#include <cuda_runtime_api.h>
#include <torch/csrc/stable/tensor.h>

#if defined(PIXELRNN_EMULATED)  // tests/emulator: CPU tensors, no device, one stream

namespace pixelrnn::cuda {
struct OnDeviceOf {
  explicit OnDeviceOf(const torch::stable::Tensor&) {}
  cudaStream_t stream() const { return nullptr; }
};
}  // namespace pixelrnn::cuda

#else
#include <torch/csrc/stable/accelerator.h>

namespace pixelrnn::cuda {
// Makes the tensor's device current as long as this lives.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const torch::stable::Tensor& t) : index_(t.get_device_index()), guard_(index_) {}
  cudaStream_t stream() const {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    return static_cast<cudaStream_t>(stream);
  }

 private:
  torch::stable::accelerator::DeviceIndex index_;
  torch::stable::accelerator::DeviceGuard guard_;
};
}  // namespace pixelrnn::cuda

#endif
