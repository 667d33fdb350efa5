// What the files that register CPU operators share.
#pragma once
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>

#include "cpu/kernels.h"
#include "cpu/team.h"

namespace pixelrnn {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

// The level (cpu/kernels.h) that the CPU kernels use.
inline int instruction_set = cpu::best_instruction_set();

inline cpu::Team team() {
  return {int(torch::stable::get_num_threads()), [](int shares, void (*body)(void*, int, int), void* context) {
            torch::stable::parallel_for(0, shares, 1, [&](int64_t first, int64_t last) { body(context, int(first), int(last)); });
          }};
}

template <class T> const T* in(const Tensor& t) { return static_cast<const T*>(t.const_data_ptr()); }
template <class T> const T* in(const Optional& t) { return t ? in<T>(*t) : nullptr; }
template <class T> T* out(const Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); }
template <class T> T* out_if(bool wanted, const Tensor& t) { return wanted ? out<T>(t) : nullptr; }

// f(float()) or f(double()).
template <class F> void dispatch(const Tensor& t, const F& f) {
  if (t.scalar_type() == ScalarType::Double) return f(double());
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Float, "pixelrnn_ext: expected float32 or float64, got ", t.scalar_type());
  f(float());
}

}  // namespace pixelrnn
