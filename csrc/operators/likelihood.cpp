// The CPU operators for the log-probability of values, given the logits of softmax distributions.
#include <cmath>
#include <tuple>
#include <vector>

#include "contiguous.h"

namespace pixelrnn {
namespace {

using Sizes = std::vector<int64_t>;

// Calls body(first, last) for ranges of rows. A range of fewer logits than kLogits is not worth a thread.
template <class F> void for_rows(int64_t rows, int64_t levels, const F& body) {
  constexpr int64_t kLogits = 1 << 15;
  stable::parallel_for(0, rows, 1 + kLogits / levels, body);
}

// Returns the sizes of `logits` without the axis of levels.
Sizes checked_sizes(const Tensor& logits, const Tensor& values) {
  STD_TORCH_CHECK(logits.dim() >= 1 && logits.size(logits.dim() - 1) >= cpu::kMinLevels,
      "log_prob: expected logits of shape [..., levels] with ", cpu::kMinLevels, " levels or more, got ",
      shape_text(logits.sizes()));
  const auto sizes = logits.sizes();
  const Sizes rows(sizes.begin(), sizes.end() - 1);
  check_sizes("values", values, rows, ScalarType::Long);
  return rows;
}

void check_values(int64_t rows, int64_t levels, const int64_t* values) {
  for (int64_t row = 0; row < rows; ++row)
    STD_TORCH_CHECK(0 <= values[row] && values[row] < levels, "log_prob: expected values of integers in [0, ", levels,
        "), got ", values[row]);
}

std::tuple<Tensor, Tensor> log_prob(Tensor logits, Tensor values) {
  const Sizes sizes = checked_sizes(logits, values);
  if (widens(logits)) logits = stable::to(logits, ScalarType::Float);
  make_contiguous(logits, values);
  const int64_t rows = values.numel(), levels = logits.size(logits.dim() - 1);
  check_values(rows, levels, in<int64_t>(values));
  const ScalarType type = logits.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Sizes pairs = sizes;
  pairs.push_back(2);
  Tensor result = new_tensor(logits, sizes, type), normaliser = new_tensor(logits, pairs, type);
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const auto normalise = cpu::kernels<T>(instruction_set).likelihood.normalise;
    for_rows(rows, levels, [&](int64_t first, int64_t last) {
      const T* row = in<T>(logits) + first * levels;
      cpu::Sum<T>* pair = out<cpu::Sum<T>>(normaliser) + 2 * first;
      normalise(last - first, levels, row, pair);
      for (int64_t i = first; i < last; ++i, row += levels, pair += 2)
        out<cpu::Sum<T>>(result)[i] = (row[in<int64_t>(values)[i]] - pair[0]) - std::log(pair[1]);
    });
  });
  return {result, normaliser};
}

Tensor log_prob_backward(Tensor dlog_prob, Tensor logits, Tensor values, Tensor normaliser) {
  if (widens(logits))
    return stable::to(
        log_prob_backward(dlog_prob, stable::to(logits, ScalarType::Float), values, normaliser), ScalarType::BFloat16);
  Sizes sizes = checked_sizes(logits, values);
  make_contiguous(dlog_prob, logits, values, normaliser);
  const int64_t rows = values.numel(), levels = logits.size(logits.dim() - 1);
  check_values(rows, levels, in<int64_t>(values));
  const ScalarType type = logits.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  check_sizes("grad", dlog_prob, sizes, type);
  sizes.push_back(2);
  check_sizes("normaliser", normaliser, sizes, type);
  sizes.back() = levels;
  Tensor dlogits = cached_tensor(logits, sizes, logits.scalar_type());
  dispatch(logits, [&](auto zero) {
    using T = decltype(zero);
    const auto gradient = cpu::kernels<T>(instruction_set).likelihood.gradient;
    for_rows(rows, levels, [&](int64_t first, int64_t last) {
      gradient(last - first, levels, in<T>(logits) + first * levels, in<int64_t>(values) + first,
          in<cpu::Sum<T>>(normaliser) + 2 * first, in<cpu::Sum<T>>(dlog_prob) + first,
          out<T>(dlogits) + first * levels);
    });
  });
  return dlogits;
}

}  // namespace
}  // namespace pixelrnn

STABLE_TORCH_LIBRARY_FRAGMENT(pixelrnn_ext, m) {
  m.def("log_prob(Tensor logits, Tensor values) -> (Tensor log_prob, Tensor normaliser)");
  m.def("log_prob_backward(Tensor grad, Tensor logits, Tensor values, Tensor normaliser) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pixelrnn_ext, CPU, m) {
  m.impl("log_prob", TORCH_BOX(&pixelrnn::log_prob));
  m.impl("log_prob_backward", TORCH_BOX(&pixelrnn::log_prob_backward));
}
