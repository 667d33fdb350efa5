// TensorView describes a tensor without torch's headers.
#pragma once
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace pixelrnn {

// Limits sizes, so that a product of two sizes fits 64 bits.
constexpr int64_t kMaxSize = int64_t(1) << 31;

struct TensorView {
  enum Type { kOther, kFloat, kDouble, kBool, kInt64 } type;
  void* data;
  std::vector<int64_t> sizes;
  bool contiguous;

  int64_t numel() const {
    uint64_t n = 1;  // unsigned, because signed overflow is undefined
    for (int64_t size : sizes) n *= uint64_t(size);
    return int64_t(n);
  }
};
template <class T> constexpr TensorView::Type kViewType = TensorView::kOther;
template <> inline constexpr TensorView::Type kViewType<float> = TensorView::kFloat;
template <> inline constexpr TensorView::Type kViewType<double> = TensorView::kDouble;
template <> inline constexpr TensorView::Type kViewType<uint8_t> = TensorView::kBool;
template <> inline constexpr TensorView::Type kViewType<int64_t> = TensorView::kInt64;

template <class... Words> void expect(bool condition, const Words&... words) {
  if (condition) return;
  std::ostringstream message;
  message << "run_columns: ";
  (message << ... << words);
  throw std::runtime_error(message.str());
}

}  // namespace pixelrnn
