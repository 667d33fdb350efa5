// Where the weights of a scan lie: [directions][taps][hidden][gates][channels], by strides, so that a layer's
// parameters [gates][hidden][channels][taps] are read, and their gradients written, as they are.
#pragma once
#include <cstdint>

namespace pixelrnn::cpu {

template <class T> struct Weights {
  T* data = nullptr;  // null: there are none
  int64_t direction = 0, tap = 0, unit = 0, gate = 0, channel = 1;

  explicit operator bool() const { return data; }
  // Those of a direction's tap.
  Weights of(int d, int k) const {
    Weights w = *this;
    if (data) w.data += d * direction + k * tap;
    return w;
  }
  // The place of a unit's gate, whose channels follow.
  T* row(int64_t u, int64_t g) const { return data + u * unit + g * gate; }
  // The same by column: units x four gates, then the fifth gate of all units where there is one.
  T* column(int64_t c, int64_t hidden) const { return c < 4 * hidden ? row(c / 4, c % 4) : row(c - 4 * hidden, 4); }
};

}  // namespace pixelrnn::cpu
