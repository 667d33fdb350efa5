#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "scan.h"

namespace pixelrnn::cpu {

// A map that every cell reads at one displacement, and its weight. Outside the image, cells read `border` instead.
template <class T> struct Tap {
  const T* map;
  int channels, stride;  // values read at a pixel, values from one pixel to the next
  Displacement from;
  const T* border;
  Weights<const T> weight = {};
  bool far = false;  // prefetch the next line's values, which no other cell has brought into the cache
};

// Returns part i of [parts][size], or null if p is null.
template <class T> T* part(T* p, int64_t i, int64_t size) { return p ? p + i * size : p; }

// State, input and bias of one direction as taps. The bias is the weight of a constant 1.
template <class T> struct Taps : std::vector<Tap<T>> {
  static constexpr T one = 1;

  void state(const Shape& s, const T* map, const T* border, Weights<const T> weight = {}, int direction = 0) {
    for (int k = 0; k < s.taps; ++k)
      this->push_back({map, s.hidden, s.h_stride(), state_tap(s.diagonal, s.taps, k), border, weight.of(direction, k)});
  }
  void input(const Shape& s, const T* map, const T* border, Weights<const T> weight = {}, int direction = 0) {
    for (int k = 0; map && k < s.input_taps; ++k)
      this->push_back({map, s.input_channels, s.input_channels, input_tap(s.input_kernel, k), border,
          weight.of(direction, k), k == 0});
  }
  void bias(Weights<const T> weight = {}, int direction = 0) {
    this->push_back({&one, 1, 0, {0, 0}, &one, weight.of(direction, 0)});
  }

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

// The operands of a scan's cells besides the taps.
template <class T> struct Carried {
  Tap<T> carry, carry_up = {}, dh = {};  // carry_up exists with two carries, dh in the backward
  T* dc_up = nullptr;                    // [images] in the layout of DcUp, backward with two carries
};

// The layout of an image's gradients of c from the cells below. A line writes what the line before it reads, so two
// lines alternate. The gradients that leave the image at its top are kept for the gradient of c0.
template <class T> class DcUp {
 public:
  DcUp(const Shape& s) : height_(s.height), width_(s.width), hidden_(s.hidden) {}
  int64_t size() const { return (2 * int64_t(height_) + width_) * hidden_; }
  // The gradient of c that row r of line t receives from below. An image's last row receives none.
  T* row(T* of_image, int t, int r) const { return of_image + ((t & 1) * int64_t(height_) + r) * hidden_; }
  T* top(T* of_image, int column) const { return of_image + (2 * int64_t(height_) + column) * hidden_; }

 private:
  int height_, width_, hidden_;
};

// Finds the operands of cells. With sense -1 a tap leads to the cell that reads this cell.
template <class T> class LineCells {
 public:
  // All maps begin at `image`. by_rows: lines are image rows, whatever the scan's lines are.
  LineCells(const Shape& s, int direction, int64_t image, const Taps<T>& taps, int sense = 1, bool by_rows = false)
      : s_(s),
        direction_(direction),
        by_rows_(by_rows),
        g_(geometry({s.height, s.width})),
        pixels_(s.pixels()),
        taps_(taps),
        channels_(taps.channels()),
        sense_(sense),
        extents_(s.extents ? s.extents + image : nullptr),
        zeros_(s.gates == 5 ? s.hidden : 0),
        dc_up_(s) {}

  // The active cells of line t of images image0 to image1 - 1.
  Rows<T> line(int t, int image0, int image1, const Carried<T>& d) {
    int n = 0;
    for (int b = image0; b < image1; ++b) n += count(of_image(b), t);
    resize(n);
    carry_.resize(n), chain_.resize(n), dh_.resize(d.dh.map ? n : 0);
    const bool two = d.carry_up.map;
    carry_up_.resize(two ? n : 0), below_.resize(d.dc_up ? n : 0), above_.resize(d.dc_up ? n : 0);
    for (int b = image0, j = 0; b < image1; ++b) {
      const Geometry g = of_image(b);
      const int cells = count(g, t);
      take(g, t, b, cells, j, n);
      point(g, d.carry, 1, t, b, cells, carry_.data() + j);
      if (d.dh.map) point(g, d.dh, 1, t, b, cells, dh_.data() + j);
      if (two) point(g, d.carry_up, 1, t, b, cells, carry_up_.data() + j);
      if (d.dc_up) point_dc_up(g, t, d.dc_up + b * dc_up_.size(), cells, j);
      for (const auto& tap : taps_)
        if (tap.far) fetch_next(tap, j, cells);
      for (int k = 0; k < cells; ++k) chain_[j + k] = int64_t(b) * g_.cells + g.first(t) + k;
      j += cells;
    }
    return rows(n);
  }
  // All cells of lines l0 <= l < l1, counted over all images.
  Rows<T> lines(int64_t l0, int64_t l1) {
    int n = 0;
    for (int64_t l = l0; l < l1; ++l) n += count(of_image(l / g_.lines), int(l % g_.lines));
    resize(n);
    for (int64_t l = l0, j = 0; l < l1; ++l) {
      const Geometry g = of_image(l / g_.lines);
      const int t = int(l % g_.lines), cells = count(g, t);
      take(g, t, l / g_.lines, cells, int(j), n);
      j += cells;
    }
    return rows(n);
  }

 private:
  Geometry geometry(Extent e) const { return by_rows_ ? s_.rows(direction_, e) : s_.geometry(direction_, e); }
  Geometry of_image(int64_t b) const { return extents_ ? geometry(extents_[b]) : g_; }
  static int count(const Geometry& g, int t) { return std::max(0, g.last(t) - g.first(t)); }

  void resize(int n) { tap_.resize(n * taps_.size()), cell_.resize(n); }
  Rows<T> rows(int n) const {
    return {n, int(taps_.size()), channels_.data(), tap_.data(), carry_.data(), dh_.data(), cell_.data(), chain_.data(),
        int64_t(sense_) * g_.step, carry_up_.data(), below_.data(), above_.data()};
  }
  // Finds the operands of line t of image b, as cells j to j + count - 1 of n.
  void take(const Geometry& g, int t, int64_t b, int count, int j, int n) {
    for (size_t k = 0; k < taps_.size(); ++k) point(g, taps_[k], sense_, t, b, count, tap_.data() + k * n + j);
    for (int i = 0; i < count; ++i) cell_[j + i] = b * pixels_ + g.pixel(t, g.first(t) + i);
  }
  void fetch_next(const Tap<T>& tap, int j, int count) const {
    for (int i = 0; i < count; ++i) {
      const T* next = tap.map + (cell_[j + i] + sense_ * g_.step) * tap.stride;
      for (int c = 0; c < tap.channels; c += 64 / sizeof(T)) __builtin_prefetch(next + c, 0, 2);
    }
  }
  void point(const Geometry& g, const Tap<T>& tap, int sense, int t, int64_t b, int count, const T** out) const {
    const int line = t - sense * g.lag(tap.from), first = g.first(t) + sense * g.shift(tap.from);
    const int inside0 = std::clamp(g.first(line) - first, 0, count),
              inside1 = std::clamp(g.last(line) - first, inside0, count);
    const int64_t origin = (b * pixels_ + g.pixel(line, first)) * tap.stride, along = int64_t(g.cell) * tap.stride;
    std::fill(out, out + inside0, tap.border);
    for (int i = inside0; i < inside1; ++i) out[i] = tap.map + (origin + i * along);
    std::fill(out + inside1, out + count, tap.border);
  }
  void point_dc_up(const Geometry& g, int t, T* of_image, int count, int j) {
    for (int i = 0; i < count; ++i) {
      const int r = g.first(t) + i;
      below_[j + i] = r + 1 < g.cells ? dc_up_.row(of_image, t, r) : zeros_.data();
      above_[j + i] = r > 0 ? dc_up_.row(of_image, t - 1, r - 1) : dc_up_.top(of_image, t);
    }
  }

  const Shape& s_;
  const int direction_;
  const bool by_rows_;
  const Geometry g_;  // geometry of an image as large as the map
  const int64_t pixels_;
  const Taps<T>& taps_;
  const std::vector<int> channels_;
  const int sense_;
  const Extent* const extents_;
  const std::vector<T> zeros_;
  const DcUp<T> dc_up_;
  std::vector<const T*> tap_, carry_, dh_, carry_up_, below_;
  std::vector<T*> above_;
  std::vector<int64_t> cell_, chain_;
};

}  // namespace pixelrnn::cpu
