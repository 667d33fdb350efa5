#include "columns.h"

#include <algorithm>
#include <cmath>

#include "kernels.h"

namespace pixelrnn::cpu {
namespace {

// The columns of a row for the images image0 .. image1 - 1.
template <class T> class Images {
 public:
  Images(const ColumnKernels<T>& kernels, int64_t images, int64_t image0, int64_t image1, double temperature)
      : kernels_(kernels), images_(images), image0_(image0), count_(image1 - image0), temperature_(temperature) {}

  void run(const ColumnStep<T>& s, int64_t column) {
    switch (s.kind) {
      case StepKind::kLinear:
        return kernels_.linear(operands(s, column), int(s.taps.size()), s.packed, s.stop - s.start, count_,
            {in(s.base, column, s.start), at(s.output, column, s.start), s.relu});
      case StepKind::kCell:
        return kernels_.cell(operands(s, column), int(s.taps.size()), s.packed, s.stop - s.start, count_,
            {in(s.base, column, s.start), in(s.carried, column + s.shift, s.start), in(s.addend, column, s.start),
                at(s.c, column, s.start), at(s.h, column, s.start), at(s.output, column, s.start), s.h.channels});
      case StepKind::kPointwise: return pointwise(s, column);
      case StepKind::kDraw: return draw(s, column);
    }
  }

 private:
  template <class U> Column<U> at(const RowBuffer<U>& b, int64_t column, int64_t channel) const {
    return {b.data + (column * images_ + image0_) * b.channels + channel, b.channels};
  }
  Column<const T> in(const RowBuffer<T>& b, int64_t column, int64_t channel) const {
    const Column<T> c = at(b, column, channel);
    return {c.data, c.stride};
  }
  const ColumnOperand<T>* operands(const ColumnStep<T>& s, int64_t column) {
    operands_.clear();
    for (const auto& tap : s.taps) operands_.push_back({in(tap.input, column + tap.shift, 0), tap.channels});
    return operands_.data();
  }

  void pointwise(const ColumnStep<T>& s, int64_t column) const {
    const int64_t n = s.stop - s.start;
    const Column<T> out = at(s.output, column, s.start);
    const Column<const T> left = in(s.base, column, s.start),
                          right = s.addend.data ? in(s.addend, column, s.start) : Column<const T>{nullptr, 0};
    for (int64_t i = 0; i < count_; ++i) {
      T* y = out.data + i * out.stride;
      const T *a = left.data + i * left.stride, *b = right.data + i * right.stride;
      if (right.data)
        for (int64_t j = 0; j < n; ++j) y[j] = a[j] + b[j];
      else std::copy(a, a + n, y);
      if (s.relu)
        for (int64_t j = 0; j < n; ++j) y[j] = y[j] < T(0) ? T(0) : y[j];
    }
  }

  void draw(const ColumnStep<T>& s, int64_t column) {
    const auto uniform = at(s.uniform, column, s.colour);
    const auto known = at(s.known, column, s.colour);
    const auto values = at(s.values, column, s.colour);
    const auto logits = in(s.base, column, s.start);
    const auto image = at(s.output, column, s.colour);
    for (int64_t i = 0; i < count_; ++i) {
      int64_t& value = values.data[i * values.stride];
      if (!known.data[i * known.stride])
        value = drawn(logits.data + i * logits.stride, s.stop - s.start, uniform.data[i * uniform.stride]);
      image.data[i * image.stride] = s.scaled[value];
    }
  }

  // The value at which the cumulative distribution passes `uniform`, as pixelrnn_ext/likelihood.py says. A single logit
  // is that of the value 1, beside 0.
  int64_t drawn(const T* logits, int64_t n, double uniform) {
    levels_.assign(n == 1 ? 1 : 0, 0.);
    levels_.insert(levels_.end(), logits, logits + n);
    const auto largest = std::max_element(levels_.begin(), levels_.end());
    if (temperature_ == 0) return largest - levels_.begin();
    const double top = *largest;
    double sum = 0;
    for (double& level : levels_) level = sum += std::exp((level - top) / temperature_);
    const double passed = uniform * sum;
    int64_t value = 0;
    while (value + 1 < int64_t(levels_.size()) && levels_[value] <= passed) ++value;
    return value;
  }

  const ColumnKernels<T>& kernels_;
  const int64_t images_, image0_, count_;
  const double temperature_;
  std::vector<ColumnOperand<T>> operands_;
  std::vector<double> levels_;
};

}  // namespace

template <class T>
void run_columns(const std::vector<ColumnStep<T>>& steps, int64_t margin, int64_t width, int64_t images,
    double temperature, const Team& team, int instruction_set) {
  const int shares = int(std::min<int64_t>(team.threads, images));
  team.parallel(shares, [&](int s0, int s1) {
    Images<T> some(
        kernels<T>(instruction_set).columns, images, images * s0 / shares, images * s1 / shares, temperature);
    for (int64_t column = margin; column < margin + width; ++column)
      for (const auto& step : steps) some.run(step, column);
  });
}
template void run_columns(const std::vector<ColumnStep<float>>&, int64_t, int64_t, int64_t, double, const Team&, int);
template void run_columns(const std::vector<ColumnStep<double>>&, int64_t, int64_t, int64_t, double, const Team&, int);

}  // namespace pixelrnn::cpu
