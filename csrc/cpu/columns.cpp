#include "columns.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "float_environment.h"
#include "grid.h"

namespace pixelrnn::cpu {
namespace {

constexpr int64_t kRoundedPerThread = 1 << 15;  // rounding fewer numbers takes less time than waking a thread
// A thread decodes several neighbouring streams at the same time, if the streams contain at most kImagesAtOnce images
// in total. kImagesAtOnce is equal to BLOCK in pixelrnn_ext/codec/container.py.
constexpr int64_t kImagesAtOnce = 64;

// Runs the steps of the sampler or codec at each pixel of an image row, for images image0 to image1 - 1. `streams`
// points to the stream that contains image0, and is null if nothing is decoded.
template <class T> class RowRun {
 public:
  RowRun(
      const ColumnKernels<T>& kernels, const ColumnRun& run, int64_t image0, int64_t image1, Stream* streams = nullptr)
      : kernels_(kernels), run_(run), image0_(image0), count_(image1 - image0), streams_(streams) {}

  void run(const std::vector<ColumnStep<T>>& steps) {
    if (count_ == 0) return;  // a buffer for 0 images may be a null pointer
    for (int64_t column = run_.margin; column < run_.margin + run_.width; ++column)
      for (const auto& s : steps) step(s, column);
  }

 private:
  void step(const ColumnStep<T>& s, int64_t column) {
    switch (s.kind) {
      case StepKind::kLinear:
        return kernels_.linear(operands(s, column), int(s.taps.size()), s.packed, s.stop - s.start, count_,
            {input(s.base, column, s.start), view(s.output, column, s.start), s.relu});
      case StepKind::kCell:
        return kernels_.cell(operands(s, column), int(s.taps.size()), s.packed, s.stop - s.start, count_,
            {input(s.base, column, s.start), input(s.carried, column + s.shift, s.start),
                input(s.addend, column, s.start), view(s.c, column, s.start), view(s.h, column, s.start),
                view(s.output, column, s.start), s.h.channels});
      case StepKind::kPointwise: return pointwise(s, column);
      case StepKind::kDraw:
        return set_values(s, column, [&](const T* logits, int64_t i) {
          const auto uniform = view(s.uniform, column, s.colour);
          return draw(logits, s.stop - s.start, *uniform[i]);
        });
      case StepKind::kEncode: return encode(s, column);
      case StepKind::kDecode: {
        Stream* stream = streams_;
        return set_values(s, column, [&](const T* logits, int64_t i) {
          while (stream->last <= image0_ + i) ++stream;
          distribution_.set(logits, s.stop - s.start);
          return stream->decode(run_.bytes, distribution_);
        });
      }
    }
  }

  template <class U> Column<U> view(const RowBuffer<U>& b, int64_t column, int64_t channel) const {
    return {b.data + (column * run_.images + image0_) * b.channels + channel, b.channels};
  }
  Column<const T> input(const RowBuffer<T>& b, int64_t column, int64_t channel) const {
    return {view(b, column, channel).data, b.channels};
  }
  const ColumnOperand<T>* operands(const ColumnStep<T>& s, int64_t column) {
    operands_.clear();
    for (const auto& tap : s.taps) operands_.push_back({input(tap.input, column + tap.shift, 0), tap.channels});
    return operands_.data();
  }

  void pointwise(const ColumnStep<T>& s, int64_t column) const {
    const int64_t n = s.stop - s.start;
    const auto out = view(s.output, column, s.start);
    const Column<const T> left = input(s.base, column, s.start),
                          right = s.addend.data ? input(s.addend, column, s.start) : Column<const T>{nullptr, 0};
    for (int64_t i = 0; i < count_; ++i) {
      T* y = out[i];
      const T *a = left[i], *b = right[i];
      if (right.data)
        for (int64_t j = 0; j < n; ++j) y[j] = a[j] + b[j];
      else std::copy(a, a + n, y);
      if (run_.on_grid)
        for (int64_t j = 0; j < n; ++j) y[j] = std::min(T(kGridLimit), std::max(T(-kGridLimit), y[j]));
      if (s.relu)
        for (int64_t j = 0; j < n; ++j) y[j] = y[j] < T(0) ? T(0) : y[j];
    }
  }

  // Returns the pixel value, or the last level if the value is outside the levels from 0 to the last level. The values
  // are checked before the steps run, but draw() may return -1, and an earlier step may have overwritten this value.
  static int64_t level_of(int64_t value, const ColumnStep<T>& s) {
    return 0 <= value && value <= last_level(s) ? value : last_level(s);
  }

  // Sets the pixel values that the caller did not mark as known to value_of(logits, index of the image). Writes all
  // values to the image that the network reads, scaled like the network's input.
  template <class F> void set_values(const ColumnStep<T>& s, int64_t column, const F& value_of) {
    const auto known = view(s.known, column, s.colour);
    const auto values = view(s.values, column, s.colour);
    const auto logits = input(s.base, column, s.start);
    const auto image = view(s.output, column, s.colour);
    for (int64_t i = 0; i < count_; ++i) {
      int64_t& value = *values[i];
      if (!*known[i]) value = value_of(logits[i], i);
      *image[i] = s.scaled[level_of(value, s)];
    }
  }

  void encode(const ColumnStep<T>& s, int64_t column) {
    const auto values = view(s.values, column, s.colour);
    const auto intervals = view(s.intervals, column, s.colour);
    const auto logits = input(s.base, column, s.start);
    const auto image = view(s.output, column, s.colour);
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t value = level_of(*values[i], s);
      distribution_.set(logits[i], s.stop - s.start);
      *intervals[i] = int64_t(distribution_.cumulative(value) << 32 | distribution_.cumulative(value + 1));
      *image[i] = s.scaled[value];
    }
  }

  // Returns the first value whose cumulative probability exceeds `uniform` (pixelrnn_ext/likelihood.py). At temperature
  // 0 it returns the most likely value. A single logit is that of the value 1, and the value 0 then has the logit 0. If
  // a probability is NaN, it returns -1: then a logit is NaN, or the largest one, which is infinite, minus itself is.
  int64_t draw(const T* logits, int64_t n, double uniform) {
    levels_.assign(n == 1 ? 1 : 0, 0.);
    levels_.insert(levels_.end(), logits, logits + n);
    const auto largest = std::max_element(levels_.begin(), levels_.end());
    const double top = *largest;
    double sum = 0;
    for (double& level : levels_)
      level = sum += run_.temperature == 0 ? level - top : std::exp((level - top) / run_.temperature);
    if (std::isnan(sum)) return -1;
    if (run_.temperature == 0) return largest - levels_.begin();
    const double passed = uniform * sum;
    int64_t value = 0;
    while (value + 1 < int64_t(levels_.size()) && levels_[value] <= passed) ++value;
    return value;
  }

  const ColumnKernels<T>& kernels_;
  const ColumnRun& run_;
  const int64_t image0_, count_;
  Stream* const streams_;
  Distribution distribution_;
  std::vector<ColumnOperand<T>> operands_;
  std::vector<double> levels_;
};

}  // namespace

template <class T> ColumnBlocks column_blocks(int instruction_set) {
  return kernels<T>(instruction_set).columns.blocks;
}
template ColumnBlocks column_blocks<float>(int);
template ColumnBlocks column_blocks<double>(int);

template <class T>
void run_columns(const std::vector<ColumnStep<T>>& steps, const ColumnRun& run, const Team& team, int instruction_set) {
  const auto& column_kernels =
      run.on_grid ? kernels<T>(instruction_set).grid_columns : kernels<T>(instruction_set).columns;
  if (run.streams)
    return team.parallel(int(run.stream_count), [&](int s0, int s1) {
      const DefaultFloatEnvironment environment;
      Stream *s = run.streams + s0, *const last = run.streams + s1;
      while (s < last) {
        Stream* const first = s++;
        while (s < last && s->last - first->first <= kImagesAtOnce) ++s;
        RowRun<T>(column_kernels, run, first->first, s[-1].last, first).run(steps);
      }
    });
  const int shares = int(std::min<int64_t>(team.threads, run.images));
  team.parallel(shares, [&](int s0, int s1) {
    const DefaultFloatEnvironment environment;
    RowRun<T>(column_kernels, run, run.images * s0 / shares, run.images * s1 / shares).run(steps);
  });
}
template void run_columns(const std::vector<ColumnStep<float>>&, const ColumnRun&, const Team&, int);
template void run_columns(const std::vector<ColumnStep<double>>&, const ColumnRun&, const Team&, int);

void round_to_grid(double* x, int64_t n, int bits, double limit, const Team& team, int instruction_set) {
  const auto round = kernels<double>(instruction_set).round;
  const double integral = std::ldexp(1., DBL_MANT_DIG - 1 - bits);
  const int shares = int(std::min<int64_t>(team.threads, (n + kRoundedPerThread - 1) / kRoundedPerThread));
  team.parallel(shares, [&](int s0, int s1) {
    const DefaultFloatEnvironment environment;
    const int64_t first = share(n, s0, shares);
    round(x + first, share(n, s1, shares) - first, integral, limit);
  });
}

}  // namespace pixelrnn::cpu
