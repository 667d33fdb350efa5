// What the operators of a GPU ask of their tensors, and how they report errors of CUDA.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../../cuda/driver.h"

namespace pixelrnn::cuda {

using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

inline void check(CUresult error) {
  if (error == CUDA_SUCCESS) return;
  const char* text = nullptr;
  driver().cuGetErrorString(error, &text);
  STD_TORCH_CHECK(false, "pixelrnn_ext: CUDA error: ", text ? std::string(text) : std::to_string(error));
}

inline std::string place(const Tensor& t) {
  const torch::stable::Device device = t.device();
  return device.is_cuda() ? "cuda:" + std::to_string(device.index()) : device.is_cpu() ? "cpu" : "another device";
}
// Kernels of one device read the addresses of all: before anything else.
inline void check_on_one_device(const char* name, const char* first, const Tensor& tensor,
    std::initializer_list<std::pair<const char*, Optional>> others) {
  for (const auto& [other, t] : others)
    STD_TORCH_CHECK(!t || t->device() == tensor.device(), name, ": expected all tensors on one device, got ", first,
        " on ", place(tensor), " and ", other, " on ", place(*t));
}

inline const void* in(const Optional& t) { return t ? t->const_data_ptr() : nullptr; }

// Contiguous, and aligned for 16-byte loads: a view may start anywhere.
inline Tensor prepared(const Tensor& t) {
  Tensor c = torch::stable::contiguous(t);
  return reinterpret_cast<uintptr_t>(c.const_data_ptr()) % 16 ? torch::stable::clone(c) : c;
}
inline Optional prepared(const Optional& t) { return t ? Optional(prepared(*t)) : t; }

// A view, which the stable interface has only by the dispatcher.
inline Tensor call_permute(const Tensor& t, const std::vector<int64_t>& order) {
  std::array<StableIValue, 2> stack{torch::stable::detail::from(t), torch::stable::detail::from(order)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::permute", "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

}  // namespace pixelrnn::cuda
