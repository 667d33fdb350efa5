#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pixelrnn {

using torch::headeronly::ScalarType;
namespace stable = torch::stable;
using stable::Tensor;
using Optional = std::optional<Tensor>;

template <class Sizes> std::string shape_text(const Sizes& sizes) {
  std::string text;
  for (int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

inline void check_sizes(const char* name, const Tensor& t, const std::vector<int64_t>& sizes, ScalarType type) {
  const auto got = t.sizes();
  STD_TORCH_CHECK(std::equal(got.begin(), got.end(), sizes.begin(), sizes.end()), "pixelrnn_ext: expected ", name,
      " of shape ", shape_text(sizes), ", got ", shape_text(got));
  STD_TORCH_CHECK(
      t.scalar_type() == type, "pixelrnn_ext: expected ", name, " of dtype ", type, ", got ", t.scalar_type());
}
inline void check_sizes(const char* name, const Tensor& t, const std::vector<int64_t>& sizes, const Tensor& like) {
  check_sizes(name, t, sizes, like.scalar_type());
}
template <class Type>
void check_sizes(const char* name, const Optional& t, const std::vector<int64_t>& sizes, const Type& type) {
  if (t) check_sizes(name, *t, sizes, type);
}

// Checks the number of axes. `axes` is a text such as "[D, h]".
inline void check_axes(const char* name, const Tensor& t, std::string_view axes) {
  STD_TORCH_CHECK(t.dim() == 1 + std::count(axes.begin(), axes.end(), ','), "pixelrnn_ext: expected ", name,
      " of shape ", axes, ", got ", shape_text(t.sizes()));
}
inline void check_axes(const char* name, const Optional& t, std::string_view axes) {
  if (t) check_axes(name, *t, axes);
}

// Checks that a size is below `limit`, because kernels compute some products of sizes in 32 bits.
inline void check_below(const char* name, int64_t value, int64_t limit) {
  STD_TORCH_CHECK(0 <= value && value < limit, "pixelrnn_ext: expected ", name, " below ", limit, ", got ", value);
}

}  // namespace pixelrnn
