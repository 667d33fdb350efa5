#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "scan.h"

namespace pixelrnn::cpu {

// An operand that cells multiply by `weight`: the pixel of the feature map `map` at `displacement` from the cell, or
// `border` if this pixel is outside the image.
template <class T> struct Tap {
  const T* map;
  // A cell reads `channels` values at the pixel. `stride` is the number of values from one pixel of `map` to the next.
  int channels, stride;
  Displacement displacement;
  const T* border;
  Weights<const T> weight = {};
  // Whether to prefetch pixels of the next line. Only one of several taps with the same `map` does so.
  bool prefetch_next_line = false;
};

template <class T> T* part(T* p, int64_t i, int64_t size) { return p ? p + i * size : p; }

// The taps of one scan direction: hidden states of neighbours, pixels of the input, and a constant 1, whose weight is
// the bias.
template <class T> struct Taps : std::vector<Tap<T>> {
  void add_state(const Shape& s, const T* map, const T* border, Weights<const T> weight = {}, int direction = 0) {
    for (int k = 0; k < s.taps; ++k)
      this->push_back({map, s.hidden, s.h_stride(), state_tap(s.diagonal, s.taps, k), border, weight.at(direction, k)});
  }
  void add_input(const Shape& s, const T* map, const T* border, Weights<const T> weight = {}, int direction = 0) {
    for (int k = 0; map && k < s.input_taps; ++k)
      this->push_back({map, s.input_channels, s.input_channels, input_tap(s.input_kernel, k), border,
          weight.at(direction, k), k == 0});
  }
  void add_bias(Weights<const T> weight = {}, int direction = 0) {
    const T* one = &Format<T>::one;
    this->push_back({one, 1, 0, {0, 0}, one, weight.at(direction, 0)});
    has_bias = true;
  }
  bool has_bias = false;  // the bias is the last tap

  std::vector<int> channels() const {
    std::vector<int> n;
    for (const auto& tap : *this) n.push_back(tap.channels);
    return n;
  }
  int64_t all_channels() const {
    int64_t n = 0;
    for (const auto& tap : *this) n += tap.channels;
    return n;
  }
};

// Operands of a cell without weights: c of the previous cell (carry), c of the cell above (carry_up), and the gradient
// of h (dh). carry_up and dh may be absent.
template <class T> struct Carried {
  Tap<Sum<T>> carry, carry_up = {};
  Tap<T> dh = {};
  // For each image, a buffer that holds the gradient of c that each cell receives from the cell below (DcUpLayout). The
  // pointer is null except in the backward of LSTM2d.
  Sum<T>* dc_up = nullptr;
};

// Layout of an image's buffer in the backward of LSTM2d. The buffer holds the gradient of c that each cell receives
// from the cell below. Line t writes the gradients for line t - 1, so lines use two parts of the buffer in turn. A
// third part holds the gradients of c above the top row.
template <class T> class DcUpLayout {
 public:
  DcUpLayout(const Shape& s) : height_(s.height), width_(s.width), hidden_(s.hidden) {}
  int64_t size() const { return (2 * int64_t(height_) + width_) * hidden_; }
  T* row(T* image, int t, int r) const { return image + ((t & 1) * int64_t(height_) + r) * hidden_; }
  T* top(T* image, int column) const { return image + (2 * int64_t(height_) + column) * hidden_; }

 private:
  int height_, width_, hidden_;
};

// Finds pointers to the operands of a line's cells. In the forward (sense 1), a cell reads its neighbours. In the
// backward (sense -1), it reads the cells that have it as a neighbour.
template <class T> class LineCells {
 public:
  // The pointers to feature maps point to image number `image` of the batch. If by_rows is true, lines are image rows,
  // even in a Diagonal LSTM.
  LineCells(const Shape& s, int direction, int64_t image, const Taps<T>& taps, int sense = 1, bool by_rows = false)
      : s_(s),
        direction_(direction),
        by_rows_(by_rows),
        g_(geometry({s.height, s.width})),
        pixels_(s.pixels()),
        taps_(taps),
        channels_(taps.channels()),
        sense_(sense),
        sizes_(s.sizes ? s.sizes + image : nullptr),
        zeros_(carries_up(s.gates) ? s.hidden : 0),
        layout_(s) {}

  // Returns pointers to the operands of line t's active cells, which lie inside their images, for images image0 <= b <
  // image1. The next call overwrites the result.
  Cells<T> line(int t, int image0, int image1, const Carried<T>& d) {
    int n = 0;
    for (int b = image0; b < image1; ++b) n += active_cells(image_geometry(b), t);
    resize(n);
    carry_.resize(n), chain_.resize(n), dh_.resize(d.dh.map ? n : 0);
    const bool two_carries = d.carry_up.map;
    carry_up_.resize(two_carries ? n : 0), dc_below_.resize(d.dc_up ? n : 0), dc_up_.resize(d.dc_up ? n : 0);
    for (int b = image0, j = 0; b < image1; ++b) {
      const auto g = image_geometry(b);
      const int count = active_cells(g, t);
      set_operands(g, t, b, count, j, n);
      set_pointers(g, d.carry, 1, t, b, count, carry_.data() + j);
      if (d.dh.map) set_pointers(g, d.dh, 1, t, b, count, dh_.data() + j);
      if (two_carries) set_pointers(g, d.carry_up, 1, t, b, count, carry_up_.data() + j);
      if (d.dc_up) set_dc_pointers(g, t, d.dc_up + b * layout_.size(), count, j);
      for (const auto& tap : taps_)
        if (tap.prefetch_next_line) prefetch_next(tap, j, count);
      for (int k = 0; k < count; ++k) chain_[j + k] = int64_t(b) * g_.cells + g.first(t) + k;
      j += count;
    }
    return cells(n);
  }
  // Like line(), for lines l0 <= l < l1. If images have n lines, line l is line l % n of image l / n.
  Cells<T> lines(int64_t l0, int64_t l1) {
    int n = 0;
    for (int64_t l = l0; l < l1; ++l) n += active_cells(image_geometry(l / g_.lines), int(l % g_.lines));
    resize(n);
    for (int64_t l = l0, j = 0; l < l1; ++l) {
      const auto g = image_geometry(l / g_.lines);
      const int t = int(l % g_.lines), count = active_cells(g, t);
      set_operands(g, t, l / g_.lines, count, int(j), n);
      j += count;
    }
    return cells(n);
  }

 private:
  Geometry geometry(ImageSize size) const {
    return by_rows_ ? s_.row_geometry(direction_, size) : s_.geometry(direction_, size);
  }
  Geometry image_geometry(int64_t b) const { return sizes_ ? geometry(sizes_[b]) : g_; }
  static int active_cells(const Geometry& g, int t) { return std::max(0, g.end(t) - g.first(t)); }

  void resize(int n) { tap_.resize(n * taps_.size()), cell_.resize(n); }
  Cells<T> cells(int n) const {
    return {n, int(taps_.size()), channels_.data(), tap_.data(), carry_.data(), dh_.data(), cell_.data(), chain_.data(),
        int64_t(sense_) * g_.line_stride, taps_.has_bias, carry_up_.data(), dc_below_.data(), dc_up_.data()};
  }
  // Stores the addresses of the values that the `count` active cells of line t of image b read. Each tap (a neighbour
  // that a cell reads) has an array with one address for each of n cells, which may belong to several images. The
  // function fills elements j to j + count - 1 of each array.
  void set_operands(const Geometry& g, int t, int64_t b, int count, int j, int n) {
    for (size_t k = 0; k < taps_.size(); ++k) set_pointers(g, taps_[k], sense_, t, b, count, tap_.data() + k * n + j);
    for (int i = 0; i < count; ++i) cell_[j + i] = b * pixels_ + g.pixel(t, g.first(t) + i);
  }
  void prefetch_next(const Tap<T>& tap, int j, int count) const {
    for (int i = 0; i < count; ++i) {
      const T* next = tap.map + (cell_[j + i] + sense_ * g_.line_stride) * tap.stride;
      for (int c = 0; c < tap.channels; c += 64 / sizeof(T)) __builtin_prefetch(next + c, 0, 2);
    }
  }
  template <class U>
  void set_pointers(const Geometry& g, const Tap<U>& tap, int sense, int t, int64_t b, int count, const U** out) const {
    const int line = t - sense * g.lag(tap.displacement), first = g.first(t) + sense * g.shift(tap.displacement);
    const int inside0 = std::clamp(g.first(line) - first, 0, count),
              inside1 = std::clamp(g.end(line) - first, inside0, count);
    const int64_t origin = (b * pixels_ + g.pixel(line, first)) * tap.stride,
                  step = int64_t(g.cell_stride) * tap.stride;
    std::fill(out, out + inside0, tap.border);
    for (int i = inside0; i < inside1; ++i) out[i] = tap.map + (origin + i * step);
    std::fill(out + inside1, out + count, tap.border);
  }
  void set_dc_pointers(const Geometry& g, int t, Sum<T>* image, int count, int j) {
    for (int i = 0; i < count; ++i) {
      const int r = g.first(t) + i;
      dc_below_[j + i] = r + 1 < g.cells ? layout_.row(image, t, r) : zeros_.data();
      dc_up_[j + i] = r > 0 ? layout_.row(image, t - 1, r - 1) : layout_.top(image, t);
    }
  }

  const Shape& s_;
  const int direction_;
  const bool by_rows_;
  const Geometry g_;
  const int64_t pixels_;
  const Taps<T>& taps_;
  const std::vector<int> channels_;
  const int sense_;
  const ImageSize* const sizes_;
  const std::vector<Sum<T>> zeros_;
  const DcUpLayout<Sum<T>> layout_;
  std::vector<const T*> tap_, dh_;
  std::vector<const Sum<T>*> carry_, carry_up_, dc_below_;
  std::vector<Sum<T>*> dc_up_;
  std::vector<int64_t> cell_, chain_;
};

}  // namespace pixelrnn::cpu
