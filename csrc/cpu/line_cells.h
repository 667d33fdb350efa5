// What the cells of a line read: taps at fixed displacements, and the pointers of each cell to its operands.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "rows.h"
#include "scan.h"

namespace pixelrnn::cpu {

// A map that every cell reads at one displacement, with its weight. Outside the image it reads `border`.
template <class T> struct Tap {
  const T* map;
  int channels, stride;  // values read of a pixel, values from pixel to pixel
  Displacement from;
  const T* border;
  Weights<const T> weight = {};
  bool far = false;  // the next line's values are fetched early: no other cell has brought them into the cache
};

// Part i of [parts][size]; null of null.
template <class T> T* part(T* p, int64_t i, int64_t size) { return p ? p + i * size : p; }

// State, input and bias of one direction, all as taps: the bias is the weight of a map of ones.
template <class T> struct Taps : std::vector<Tap<T>> {
  static constexpr T one = 1;

  // The weights of a direction, if they are read.
  void state(const Shape& s, const T* map, const T* border, Weights<const T> weight = {}, int direction = 0) {
    for (int k = 0; k < s.taps; ++k)
      this->push_back({map, s.hidden, s.hidden, state_tap(s.diagonal, s.taps, k), border, weight.of(direction, k)});
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

// Pointers to the operands of some cells, in the order of the scan. sense -1: the taps are read backwards, from the
// cells that read this one.
template <class T> class LineCells {
 public:
  LineCells(const Geometry& g, int64_t pixels, const Taps<T>& taps, int sense = 1)
      : g_(g), pixels_(pixels), taps_(taps), channels_(taps.channels()), sense_(sense) {}

  // The active cells of line t of some images.
  Rows<T> line(int t, int image0, int image1, const Tap<T>& carry, const Tap<T>& dh) {
    const int count = std::max(0, g_.last(t) - g_.first(t)), n = count * (image1 - image0);
    resize(n);
    carry_.resize(n), chain_.resize(n), dh_.resize(dh.map ? n : 0);
    for (int b = image0, j = 0; b < image1; ++b, j += count) {
      take(t, b, count, j, n);
      point(carry, 1, t, b, count, carry_.data() + j);
      if (dh.map) point(dh, 1, t, b, count, dh_.data() + j);
      for (const auto& tap : taps_)
        if (tap.far) fetch_next(tap, j, count);
      for (int i = 0; i < count; ++i) chain_[j + i] = int64_t(b) * g_.cells + g_.first(t) + i;
    }
    return rows(n);
  }
  // All cells of lines l0 <= l < l1 of the images, counted through them; for lines that are whole.
  Rows<T> lines(int64_t l0, int64_t l1) {
    const int n = int(l1 - l0) * g_.cells;
    resize(n);
    for (int64_t l = l0; l < l1; ++l) take(int(l % g_.lines), l / g_.lines, g_.cells, int(l - l0) * g_.cells, n);
    return rows(n);
  }

 private:
  void resize(int n) { tap_.resize(n * taps_.size()), cell_.resize(n); }
  Rows<T> rows(int n) const {
    return {n, int(taps_.size()), channels_.data(), tap_.data(), carry_.data(), dh_.data(), cell_.data(), chain_.data(),
        int64_t(sense_) * g_.step};
  }
  // The cells of line t of image b, as cells j and on of n.
  void take(int t, int64_t b, int count, int j, int n) {
    for (size_t k = 0; k < taps_.size(); ++k) point(taps_[k], sense_, t, b, count, tap_.data() + k * n + j);
    for (int i = 0; i < count; ++i) cell_[j + i] = b * pixels_ + g_.pixel(t, g_.first(t) + i);
  }
  void fetch_next(const Tap<T>& tap, int j, int count) const {
    for (int i = 0; i < count; ++i) {
      const T* next = tap.map + (cell_[j + i] + sense_ * g_.step) * tap.stride;
      for (int c = 0; c < tap.channels; c += 64 / sizeof(T)) __builtin_prefetch(next + c, 0, 2);
    }
  }
  void point(const Tap<T>& tap, int sense, int t, int64_t b, int count, const T** out) const {
    const int line = t - sense * g_.lag(tap.from), first = g_.first(t) + sense * g_.shift(tap.from);
    const int inside0 = std::clamp(g_.first(line) - first, 0, count),
              inside1 = std::clamp(g_.last(line) - first, inside0, count);
    const int64_t origin = (b * pixels_ + g_.pixel(line, first)) * tap.stride, along = int64_t(g_.cell) * tap.stride;
    std::fill(out, out + inside0, tap.border);
    for (int i = inside0; i < inside1; ++i) out[i] = tap.map + (origin + i * along);
    std::fill(out + inside1, out + count, tap.border);
  }

  const Geometry g_;
  const int64_t pixels_;
  const Taps<T>& taps_;
  const std::vector<int> channels_;
  const int sense_;
  std::vector<const T*> tap_, carry_, dh_;
  std::vector<int64_t> cell_, chain_;
};

}  // namespace pixelrnn::cpu
