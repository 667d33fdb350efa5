// The gradients of weights: products of what the cells read and their dx, summed over the cells. No recurrence here, so
// the cells are taken row by row of the image, whatever the scan's lines are. Each share has a sum of its own; they are
// added in order.
#pragma once
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "line_cells.h"
#include "weight_gradient_kernels.h"

namespace pixelrnn::cpu {

// What one direction's cells read, and their dx, from the first of some images on.
template <class T> struct WeightOperands { const T *dx, *h, *h0, *input; };

template <class T> class WeightSums {
 public:
  WeightSums(const Shape& s, const WeightGradientKernels<T>& k, const WeightOutputs<T>& out, int shares)
      : s_(s),
        k_(k),
        out_(out),
        shares_(shares),
        columns_(k.columns(4 * s.hidden)),
        zeros_(std::max(s.hidden, s.input_channels)) {
    size_ = taps({}).all_channels() * columns_;
    sums_ = buffer<T>(s.directions * shares * size_);
  }
  void clear(int s0, int s1) const {
    for (int i = 0; i < s_.directions; ++i) std::fill(sums(i, s0), sums(i, s1), T(0));
  }
  // Adds image rows r0 <= r < r1, counted through the images, to the sums of a share.
  void add(int q, int direction, const WeightOperands<T>& a, int64_t r0, int64_t r1) const {
    if (size_ == 0) return;
    const auto scratch = buffer<T>(k_.scratch_size);
    const Taps<T> taps = this->taps(a);
    LineCells<T> cells(Geometry::row(s_.height, s_.width, s_.mirrored(direction)), s_.pixels(), taps);
    const int64_t step = std::max(1, kRun / s_.width);
    for (int64_t r = r0; r < r1; r += step)
      k_.add(cells.lines(r, std::min(r1, r + step)), 4 * s_.hidden, a.dx, sums(direction, q), scratch.get());
  }
  // Shares s0 <= s < s1 of what the outputs are.
  void total(int s0, int s1) const {
    const int c0 = share(4 * s_.hidden, s0, shares_), c1 = share(4 * s_.hidden, s1, shares_);
    for (int i = 0; i < s_.directions; ++i) {
      const T* row = sums(i, 0);
      if (out_.weight) row = total(row, s_.taps, s_.hidden, i, out_.weight, c0, c1);
      if (out_.weight_ih) row = total(row, s_.input_taps, s_.input_channels, i, out_.weight_ih, c0, c1);
      if (out_.bias) total(row, 1, 1, i, out_.bias, c0, c1);
    }
  }

 private:
  static constexpr int kRun = 128;   // cells that take their pointers at once
  static constexpr int kBlock = 16;  // columns that are transposed at once

  Taps<T> taps(const WeightOperands<T>& a) const {
    Taps<T> taps;
    if (out_.weight) taps.state(s_, a.h, a.h0 ? a.h0 : zeros_.data(), nullptr);
    if (out_.weight_ih) taps.input(s_, a.input ? a.input : zeros_.data(), zeros_.data(), nullptr);
    if (out_.bias) taps.bias(nullptr);
    return taps;
  }
  T* sums(int direction, int share) const { return sums_.get() + (int64_t(direction) * shares_ + share) * size_; }
  // Rows of the sums to out [directions][taps][columns][channels]; the row behind them.
  const T* total(const T* row, int taps, int channels, int direction, T* out, int c0, int c1) const {
    for (int t = 0; t < taps; ++t) {
      T* to = out + (int64_t(direction) * taps + t) * 4 * s_.hidden * channels;
      for (int block = c0; block < c1; block += kBlock)  // whose lines of the output stay in the cache
        for (int j = 0; j < channels; ++j)
          for (int c = block; c < std::min(c1, block + kBlock); ++c) {
            T sum = 0;
            for (int q = 0; q < shares_; ++q) sum += row[size_ * q + j * columns_ + c];
            to[int64_t(c) * channels + j] = sum;
          }
      row += channels * columns_;
    }
    return row;
  }

  const Shape& s_;
  const WeightGradientKernels<T>& k_;
  const WeightOutputs<T> out_;
  const int shares_;
  const int64_t columns_;
  const std::vector<T> zeros_;
  int64_t size_;
  Buffer<T> sums_;  // [direction][share][row][column]
};

}  // namespace pixelrnn::cpu
