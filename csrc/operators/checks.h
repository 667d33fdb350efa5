// Names of torch's types, and the check of a tensor's shape, for the operators of all devices.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace pixelrnn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

inline void check_sizes(const char* name, const Tensor& t, const std::vector<int64_t>& sizes, ScalarType type) {
  bool right = t.dim() == int64_t(sizes.size());
  for (size_t i = 0; right && i < sizes.size(); ++i) right = t.size(i) == sizes[i];
  STD_TORCH_CHECK(right, "pixelrnn_ext: ", name, " has the wrong shape");
  STD_TORCH_CHECK(t.scalar_type() == type, "pixelrnn_ext: ", name, " has another dtype, ", t.scalar_type(), " where ",
      type, " is expected");
}
inline void check_sizes(const char* name, const Tensor& t, const std::vector<int64_t>& sizes, const Tensor& like) {
  check_sizes(name, t, sizes, like.scalar_type());
}
inline void check_sizes(const char* name, const Optional& t, const std::vector<int64_t>& sizes, const Tensor& like) {
  if (t) check_sizes(name, *t, sizes, like);
}

}  // namespace pixelrnn
