#pragma once
#include <torch/csrc/stable/ops.h>

#include "../cpu/cores.h"
#include "../cpu/kernels.h"
#include "../cpu/pages.h"
#include "../cpu/team.h"
#include "checks.h"

namespace pixelrnn {

inline int instruction_set = cpu::default_instruction_set();
// Whether torch's parallel loop runs all shares of its work at the same time, as OpenMP does. A thread pool may start
// some only after others have ended.
inline bool concurrent_shares = true;

// Returns a team of torch's threads, but of no more threads than there are cores. The threads of a scan wait for each
// other at the end of each line, and a thread without a core would delay all others.
inline cpu::Team team() {
  const auto run = [](int shares, void (*body)(void*, int, int), void* context) {
    stable::parallel_for(0, shares, 1, [&](int64_t first, int64_t last) { body(context, int(first), int(last)); });
  };
  return {std::min(int(stable::get_num_threads()), cpu::usable_cores()), run, concurrent_shares};
}
// Returns a team of the threads that shorten a scan or a convolution. torch's parallel loop wakes all of its threads,
// even without work for them. If they are more than the cores, this takes about 0.1 ms.
template <class Problem> cpu::Team team_for(const Problem& problem) {
  cpu::Team team = pixelrnn::team();
  team.threads = problem.useful_threads({team.threads, int(stable::get_num_threads()) / team.threads});
  return team;
}

template <class T> const T* in(const Tensor& t) { return static_cast<const T*>(t.const_data_ptr()); }
template <class T> const T* in(const Optional& t) { return t ? in<T>(*t) : nullptr; }
template <class T> T* out(const Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); }
template <class T> T* out_if(bool wanted, const Tensor& t) { return wanted ? out<T>(t) : nullptr; }

inline Tensor new_tensor(const Tensor& like, const std::vector<int64_t>& sizes, ScalarType type) {
  Tensor t = stable::new_empty(like, sizes, type);
  if (t.numel()) cpu::advise_huge_pages(t.mutable_data_ptr(), t.numel() * t.element_size());
  return t;
}

inline Tensor new_tensor(const Tensor& like, const std::vector<int64_t>& sizes) {
  return new_tensor(like, sizes, like.scalar_type());
}

// Returns a tensor in memory of the process's cache (cpu/pages.h). Its storage cannot be resized.
inline Tensor cached_tensor(const Tensor& like, const std::vector<int64_t>& sizes, ScalarType type) {
  int64_t bytes = type == ScalarType::Double ? 8 : type == ScalarType::Float ? 4 : 2;
  for (int64_t size : sizes) bytes *= size;
  const cpu::Block block =
      bytes < int64_t(cpu::Pages::kMinBytes) ? cpu::Block{nullptr, 0} : cpu::Pages::shared().take(bytes);
  // If no memory is left, new_tensor throws.
  if (!block.data) return new_tensor(like, sizes, type);
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * sizes[i];
  return stable::from_blob(
      block.data, sizes, strides, like.device(), type, [block](void*) { cpu::Pages::shared().give(block); });
}

// Tells whether an operator computes in float32 and rounds the results, because this CPU has no instructions for
// bfloat16. A graph that was exported on another CPU may call an operator in bfloat16, but this package does not. The
// baseline has kernels for bfloat16, which the tests call.
inline bool widens(const Tensor& t) {
  return t.scalar_type() == ScalarType::BFloat16 && instruction_set > 0 && !cpu::multiplies_bfloat16(instruction_set);
}

template <class F> void dispatch_wide(const Tensor& t, const F& f) {
  if (t.scalar_type() == ScalarType::Double) return f(double());
  STD_TORCH_CHECK(
      t.scalar_type() == ScalarType::Float, "pixelrnn_ext: expected float32 or float64, got ", t.scalar_type());
  f(float());
}
template <class F> void dispatch(const Tensor& t, const F& f) {
  t.scalar_type() == ScalarType::BFloat16 ? f(cpu::Bf16()) : dispatch_wide(t, f);
}

}  // namespace pixelrnn
