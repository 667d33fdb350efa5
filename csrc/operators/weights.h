// The weights of a recurrence and gradients, as its operators have them.
#pragma once
#include "../cpu/weights.h"
#include "operators.h"

namespace pixelrnn {

// Weights [D, taps, h, gates, channels], or a bias [D, h, gates].
template <class T> cpu::Weights<T> weights(T* data, const Tensor& t) {
  const auto s = t.strides();
  return t.dim() == 3 ? cpu::Weights<T>{data, s[0], 0, s[1], s[2], 0}
                      : cpu::Weights<T>{data, s[0], s[1], s[2], s[3], s[4]};
}
template <class T> cpu::Weights<const T> weights_in(const Optional& t) {
  return t ? weights(in<T>(*t), *t) : cpu::Weights<const T>();
}
template <class T> cpu::Weights<T> weights_out(bool wanted, const Tensor& t) {
  return wanted ? weights(out<T>(t), t) : cpu::Weights<T>();
}

// A gradient of those sizes, which the kernels write whole. It is zero where there are no cells to make it of, and has
// a last axis of 0 where it is not wanted.
inline Tensor gradient(const Tensor& cells, bool wanted, std::vector<int64_t> sizes) {
  if (!wanted) sizes.back() = 0;
  return cells.numel() ? kept(cells, sizes) : torch::stable::new_zeros(cells, sizes);
}
// The gradient of a weight, which has the weight's strides.
inline Tensor gradient_like(const Tensor& weight, const Tensor& cells) {
  Tensor t = torch::stable::empty_like(weight);
  return cells.numel() ? t : torch::stable::zero_(t);
}

}  // namespace pixelrnn
