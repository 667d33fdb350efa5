// The CPU and the GPU operator run_columns share this header.
#pragma once
#include <vector>

#include "../columns/program.h"
#include "checks.h"

#define PIXELRNN_RUN_COLUMNS                                                                                      \
  "run_columns(Tensor(a!)[] tensors, int[] code, int margin, float temperature, bool on_grid=False, Tensor(b!)? " \
  "streams=None, Tensor? bytes=None) -> ()"

namespace pixelrnn {

inline std::vector<TensorView> views(const std::vector<Tensor>& tensors) {
  STD_TORCH_CHECK(!tensors.empty(), "run_columns: expected buffers");
  std::vector<TensorView> views;
  for (const Tensor& t : tensors) {
    TensorView v{TensorView::kOther, t.mutable_data_ptr(), std::vector<int64_t>(t.dim()), t.is_contiguous()};
    for (int64_t i = 0; i < t.dim(); ++i) v.sizes[i] = t.size(i);
    switch (t.scalar_type()) {
      case ScalarType::Float: v.type = TensorView::kFloat; break;
      case ScalarType::Double: v.type = TensorView::kDouble; break;
      case ScalarType::Bool: v.type = TensorView::kBool; break;
      case ScalarType::Long: v.type = TensorView::kInt64; break;
      default: break;
    }
    views.push_back(std::move(v));
  }
  return views;
}

}  // namespace pixelrnn
