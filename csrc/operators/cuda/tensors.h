#pragma once
#include <torch/csrc/stable/ops.h>

#include <array>
#include <initializer_list>
#include <utility>

#include "../../cuda/driver/driver.h"
#include "../../cuda/ragged.h"
#include "../checks.h"

namespace pixelrnn::cuda {

inline void check(CUresult error) {
  if (error == CUDA_SUCCESS) return;
  const char* text = nullptr;
  driver().cuGetErrorString(error, &text);
  STD_TORCH_CHECK(false, "pixelrnn_ext: CUDA error: ", text ? std::string(text) : std::to_string(error));
}

inline std::string device_name(const Tensor& t) {
  const stable::Device device = t.device();
  return device.is_cuda() ? "cuda:" + std::to_string(device.index()) : device.is_cpu() ? "cpu" : "another device";
}
// Checks that all tensors are on one device. Operators call this function before they launch a kernel, because a kernel
// cannot dereference pointers of another device.
inline void check_same_device(
    const char* first, const Tensor& tensor, std::initializer_list<std::pair<const char*, Optional>> others) {
  for (const auto& [other, t] : others)
    STD_TORCH_CHECK(!t || t->device() == tensor.device(), "scan: expected all tensors on one device, got ", first,
        " on ", device_name(tensor), " and ", other, " on ", device_name(*t));
}

inline MapType map_type(ScalarType type) {
  switch (type) {
    case ScalarType::Float: return MapType::float32;
    case ScalarType::Double: return MapType::float64;
    case ScalarType::Half: return MapType::float16;
    case ScalarType::BFloat16: return MapType::bfloat16;
    default: STD_TORCH_CHECK(false, "scan: expected float32, float64, float16 or bfloat16, got ", type);
  }
}

inline const void* in(const Optional& t) { return t ? t->const_data_ptr() : nullptr; }

// Returns a contiguous tensor that is aligned to 16 bytes, and copies the tensor if necessary. Kernels use 16-byte
// loads, but a view may start at any offset.
inline Tensor aligned(const Tensor& t) {
  Tensor c = stable::contiguous(t);
  return reinterpret_cast<uintptr_t>(c.const_data_ptr()) % 16 ? stable::clone(c) : c;
}
inline Optional aligned(const Optional& t) { return t ? Optional(aligned(*t)) : t; }

// Torch's stable ABI has no function for permute.
inline Tensor call_permute(const Tensor& t, const std::vector<int64_t>& order) {
  std::array<StableIValue, 2> stack{stable::detail::from(t), stable::detail::from(order)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::permute", "", stack.data(), TORCH_ABI_VERSION));
  return stable::detail::to<Tensor>(stack[0]);
}

}  // namespace pixelrnn::cuda
