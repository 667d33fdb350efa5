// The CUDA registration of the operators whose schemas stand in ops.cpp.
#include <Python.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "cuda/cell.h"

extern "C" PyMODINIT_FUNC PyInit__C_cuda(void) {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr};
  return PyModule_Create(&module);
}

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
namespace cuda = pixelrnn::cuda;

cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

template <class F> void dispatch(const char* op, const Tensor& t, const F& f) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return f(float());
    case ScalarType::Double:
      return f(double());
    case ScalarType::Half:
      return f(__half());
    case ScalarType::BFloat16:
      return f(__nv_bfloat16());
    default:
      STD_TORCH_CHECK(false, op, ": expected float32, float64, float16 or bfloat16, got ", t.scalar_type());
  }
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell(Tensor pre, Tensor c_prev) {
  STD_TORCH_CHECK(pre.dim() > 0 && pre.size(-1) == 4, "lstm_cell: expected gates [..., 4], got ", pre.dim(),
                  " dimensions, the last of another size");
  STD_TORCH_CHECK(c_prev.dim() == pre.dim() - 1, "lstm_cell: expected c_prev with ", pre.dim() - 1,
                  " dimensions, one less than gates, got ", c_prev.dim());
  for (int64_t i = 0; i < c_prev.dim(); ++i) {
    STD_TORCH_CHECK(c_prev.size(i) == pre.size(i), "lstm_cell: expected size ", pre.size(i), " in dimension ", i,
                    " of c_prev, as in gates, got ", c_prev.size(i));
  }
  STD_TORCH_CHECK(c_prev.scalar_type() == pre.scalar_type(), "lstm_cell: expected c_prev of gates' dtype ",
                  pre.scalar_type(), ", got ", c_prev.scalar_type());
  STD_TORCH_CHECK(c_prev.is_cuda() && c_prev.get_device_index() == pre.get_device_index(),
                  "lstm_cell: expected c_prev on gates' device, cuda:", pre.get_device_index(), ", got another");

  const torch::stable::accelerator::DeviceGuard guard(pre.get_device_index());
  pre = torch::stable::contiguous(pre);
  c_prev = torch::stable::contiguous(c_prev);
  Tensor h = torch::stable::empty_like(c_prev);
  Tensor c = torch::stable::empty_like(c_prev);
  Tensor gates = torch::stable::empty_like(pre);
  if (c_prev.numel() == 0) return {h, c, gates};
  dispatch("lstm_cell", pre, [&](auto zero) {
    using T = decltype(zero);
    const cuda::Cell<T> cell{c_prev.numel(),
                             static_cast<const T*>(pre.const_data_ptr()),
                             static_cast<const T*>(c_prev.const_data_ptr()),
                             static_cast<T*>(h.mutable_data_ptr()),
                             static_cast<T*>(c.mutable_data_ptr()),
                             static_cast<T*>(gates.mutable_data_ptr())};
    STD_CUDA_CHECK(cuda::lstm_cell<T>(cell, current_stream(pre)));
  });
  return {h, c, gates};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CUDA, m) { m.impl("lstm_cell", TORCH_BOX(&lstm_cell)); }
