// The gradient of a scan's input is the transposed convolution of dx, the gradient of the pre-activations, with the
// input-to-state weights, summed over the directions.
#pragma once
#include <algorithm>
#include <vector>

#include "convolve_rows.h"
#include "line_cells.h"
#include "pages.h"

namespace pixelrnn::cpu {

template <class T> class InputGradient {
 public:
  InputGradient(const Shape& s, const ConvolutionKernels<T>& k, const Weights<const T>& weight_ih)
      : s_(s), from_top_left_(s), k_(k), weight_ih_(weight_ih), zeros_(s.columns()) {
    from_top_left_.corner[0] = {};
    first_.push_back(0);
    while (weight_ih && first_.back() < s.input_channels)
      first_.push_back(first_.back() + k.block_outputs(s.input_channels, first_.back()));
    packed_ = buffer<T>(depth() * first_.back());
  }
  // Packs weight_ih, for shares s0 <= s < s1 (threads' parts), in blocks of input channels:
  // [direction][tap][column][channel]. A tap is a kernel position, and a column is one gate of one unit. packed_index()
  // gives the order of columns and channels.
  void pack(int s0, int s1, int shares) const {
    const int blocks = int(first_.size()) - 1;
    for (int b = share(blocks, s0, shares); b < share(blocks, s1, shares); ++b) {
      const int first = first_[b], size = first_[b + 1] - first;
      T* to = packed_.get() + depth() * first;
      for (int i = 0; i < s_.directions; ++i)
        for (int k = 0; k < s_.input_taps; ++k, to += padded_channels<T>(s_.columns()) * size)
          k_.pack_transposed(weight_ih_.at(i, k), s_.hidden, s_.columns(), first, s_.input_channels, size, to);
      std::fill(to, packed_.get() + depth() * (first + size), T(0));
    }
  }
  // Writes rows r0 <= r < r1 of the input gradient, except pixels outside the images. Row 0 is the first row of image
  // `image`, where dinput and dx begin.
  void write(const std::vector<const T*>& dx, T* dinput, int64_t image, int64_t r0, int64_t r1) const {
    Taps<T> taps;
    for (int i = 0; i < s_.directions; ++i)
      for (int k = 0; k < s_.input_taps; ++k) {
        const int left = input_tap(s_.input_kernel, k).left;
        taps.push_back({dx[i], s_.columns(), s_.columns(), {0, s_.corner[i].right ? -left : left}, zeros_.data()});
      }
    LineCells<T> cells(from_top_left_, 0, image, taps, -1, true);
    const auto channels = taps.channels();
    const auto scratch = buffer<T>(k_.scratch_size(int(channels.size()), channels.data()));
    const int64_t step = std::max(1, kRunCells / s_.width);
    for (int64_t r = r0; r < r1; r += step)
      convolve_rows(k_, cells.lines(r, std::min(r1, r + step)), s_.input_channels, packed_.get(), depth(), false,
          dinput, scratch.get());
  }

 private:
  int64_t depth() const {
    return padded(int64_t(s_.directions) * s_.input_taps * padded_channels<T>(s_.columns()), k_.depth_step);
  }

  const Shape& s_;
  Shape from_top_left_;
  const ConvolutionKernels<T>& k_;
  const Weights<const T> weight_ih_;
  const std::vector<T> zeros_;
  std::vector<int> first_;  // first channel of each block, then the end of the last block
  Buffer<T> packed_;
};

}  // namespace pixelrnn::cpu
