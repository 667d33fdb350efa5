// Sums the weight gradients of a scan: a value that a cell reads, times the cell's dx. Usually each share (one thread's
// part of the work) has a sum over its own cells, and the sums of all shares are added in a fixed order. With few
// images, these sums would take more memory than the feature maps. All shares then use one sum, and each computes some
// of its columns (gates), if the columns divide evenly.
#pragma once
#include <algorithm>
#include <vector>

#include "line_cells.h"
#include "pages.h"

namespace pixelrnn::cpu {

template <class T> struct WeightOperands { const T *dx, *h, *h0, *input; };

template <class T> class WeightSums {
 public:
  WeightSums(
      const Shape& s, const WeightGradientKernels<T>& k, const WeightGradients<T>& out, int shares, bool own_images)
      : s_(s),
        k_(k),
        out_(out),
        shares_(shares),
        columns_(k.columns(s.columns())),
        groups_((columns_ + k.group_columns - 1) / k.group_columns),
        sum_count_(!own_images && is_balanced((s.columns() + kMinColumns - 1) / kMinColumns, shares) ? 1 : shares),
        zeros_(std::max(s.hidden, s.input_channels)) {
    size_ = taps({}).all_channels() * columns_;
    sums_ = buffer<Sum<T>>(s.directions * sum_count_ * size_);
  }
  void clear(int s0, int s1) const {
    const int64_t all = s_.directions * sum_count_ * size_;
    std::fill(sums_.get() + share(all, s0, shares_), sums_.get() + share(all, s1, shares_), Sum<T>(0));
  }
  void add_share(int q, int direction, const WeightOperands<T>& a) const {
    const int64_t rows = int64_t(s_.images) * s_.height;
    if (sum_count_ > 1) return add_rows(q, direction, a, 0, share(rows, q, shares_), share(rows, q + 1, shares_));
    const int64_t g0 = share(groups_, q, shares_), g1 = share(groups_, q + 1, shares_);
    add(direction, a, 0, 0, rows, g0 * k_.group_columns, std::min(g1 * k_.group_columns, columns_), sums(direction, 0));
  }
  // Adds image rows r0 <= r < r1 to the sum of share q (one thread's part of the work). Row 0 is the first row of image
  // `image`, where all operands begin.
  void add_rows(int q, int direction, const WeightOperands<T>& a, int64_t image, int64_t r0, int64_t r1) const {
    add(direction, a, image, r0, r1, 0, columns_, sums(direction, q));
  }
  void reduce(int s0, int s1) const {
    const int c0 = share(s_.columns(), s0, shares_), c1 = share(s_.columns(), s1, shares_);
    for (int i = 0; i < s_.directions; ++i) {
      const Sum<T>* row = sums(i, 0);
      if (out_.weight) row = reduce(row, s_.taps, s_.hidden, i, out_.weight, c0, c1);
      if (out_.weight_ih) row = reduce(row, s_.input_taps, s_.input_channels, i, out_.weight_ih, c0, c1);
      if (out_.bias) reduce(row, 1, 1, i, out_.bias, c0, c1);
    }
  }

 private:
  // Several CPU threads compute a weight gradient, which is a sum over all pixels. Each thread computes some columns of
  // the gradient only if groups of kMinColumns columns divide almost evenly among the threads. Otherwise each thread
  // sums over some of the image rows. kMinColumns does not depend on the instruction set, so all instruction sets make
  // the same choice and add in the same order.
  static constexpr int kMinColumns = 64;
  // The number of cells whose operand pointers are computed at a time, so that the pointers stay in the L1 cache. In a
  // 16-bit format the tiles sum over as many cells, because they read the sums less often then.
  static constexpr int kRunCells = kDepth<T> == 2 ? 512 : 128;
  static constexpr int kBlockColumns = 16;

  Taps<T> taps(const WeightOperands<T>& a) const {
    Taps<T> taps;
    if (out_.weight) taps.add_state(s_, a.h, a.h0 ? a.h0 : zeros_.data());
    if (out_.weight_ih) taps.add_input(s_, a.input ? a.input : zeros_.data(), zeros_.data());
    if (out_.bias) taps.add_bias();
    return taps;
  }
  void add(int direction, const WeightOperands<T>& a, int64_t image, int64_t r0, int64_t r1, int64_t c0, int64_t c1,
      Sum<T>* sum) const {
    if (size_ == 0 || c0 == c1) return;
    const Taps<T> taps = this->taps(a);
    const auto channels = taps.channels();
    const auto scratch = buffer<T>(k_.scratch_size(int(channels.size()), channels.data()));
    LineCells<T> cells(s_, direction, image, taps, 1, true);
    const int64_t step = std::max(1, kRunCells / s_.width);
    for (int64_t r = r0; r < r1; r += step)
      k_.accumulate(cells.lines(r, std::min(r1, r + step)), s_.columns(), c0, c1, a.dx, sum, scratch.get());
  }
  Sum<T>* sums(int direction, int share) const {
    return sums_.get() + (int64_t(direction) * sum_count_ + share) * size_;
  }
  // Adds up the gradients that all shares (threads' parts) have computed for one weight tensor, and writes the result's
  // columns c0 <= c < c1 to `out`. The sum of a share holds the gradients of several weight tensors, with a row for
  // each channel of each tap. `row` points to the weight tensor's first row in the sum of the first share. Returns the
  // address behind the weight tensor's last row.
  const Sum<T>* reduce(
      const Sum<T>* row, int taps, int channels, int direction, const Weights<T>& out, int c0, int c1) const {
    for (int t = 0; t < taps; ++t) {
      const auto to = out.at(direction, t);
      // A block has few columns, so that its part of the output stays in the cache.
      for (int block = c0; block < c1; block += kBlockColumns) {
        const int n = std::min(kBlockColumns, c1 - block);
        T* column[kBlockColumns];
        for (int i = 0; i < n; ++i) column[i] = to.column(block + i, s_.hidden);
        k_.reduce(sum_count_, size_, row + block, columns_, n, channels, column, to.channel_stride);
      }
      row += channels * columns_;
    }
    return row;
  }

  const Shape& s_;
  const WeightGradientKernels<T>& k_;
  const WeightGradients<T> out_;
  const int shares_;
  const int64_t columns_, groups_;
  const int sum_count_;  // one sum for each share, or one for all shares
  const std::vector<T> zeros_;
  int64_t size_;
  Buffer<Sum<T>> sums_;  // [direction][sum_count_][channels of all taps][column]
};

}  // namespace pixelrnn::cpu
