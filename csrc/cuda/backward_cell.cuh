// The place of a cell in the backward's maps, with four gates and with five.
#pragma once
#include "../cell5.h"
#include "block.cuh"
#include "lanes.cuh"

namespace pixelrnn::cuda {

// Pointers to the maps of an image. An index `at` is first() of a pixel at this thread's first unit. Another pixel's
// index differs by pixels * hidden.
template <Format F, int G> struct BackwardMaps {
  using T = Traits<F>;
  const typename T::Value* dh;
  const typename T::ActiveFour* gates;
  const float* c;
  typename T::Four* dx;

  // With `keep` the pointers stay in registers.
  PIXELRNN_DEVICE BackwardMaps(const BackwardArgsOf<G>& a, const Place& at, int hidden, int, bool keep) {
    const int64_t image = at.map * hidden;
    auto map = [&](auto* first) { return keep ? primitive::as_computed(first + image) : first + image; };
    dh = map(static_cast<const typename T::Value*>(a.dh));
    gates = map(static_cast<const typename T::ActiveFour*>(a.gates));
    c = map(a.c);
    dx = map(static_cast<typename T::Four*>(a.dx));
  }
  static PIXELRNN_DEVICE int first(int pixel, int hidden, int unit) { return pixel * hidden + unit; }
  PIXELRNN_DEVICE const typename T::Value* dh_at(int at) const { return dh + at; }
  PIXELRNN_DEVICE const typename T::ActiveFour* gates_at(int at) const { return gates + at; }
  PIXELRNN_DEVICE const float* c_at(int at) const { return c + at; }
  PIXELRNN_DEVICE typename T::Four* dx_at(int at) const { return dx + at; }
};

template <Format F> struct BackwardMaps<F, 5> {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Active = typename T::Active;
  const Value* dh;
  const Active* gates;
  const float* c;
  Value* dx;
  int directions;  // directions lie side by side in dh
  int to_fifth;    // values from a unit's four gates to its fifth

  PIXELRNN_DEVICE BackwardMaps(const BackwardArgsOf<5>& a, const Place& at, int hidden, int unit, bool keep) {
    directions = gridDim.y, to_fifth = 4 * hidden - 3 * unit;
    const int64_t image = at.map * hidden, four = 5 * image + 4 * unit;
    auto map = [&](auto* at) { return keep ? primitive::as_computed(at) : at; };
    dh = map(
        static_cast<const Value*>(a.dh) + (int64_t(at.image) * a.pixels * directions + at.direction) * hidden + unit);
    gates = map(static_cast<const Active*>(a.gates) + four);
    c = map(a.c + image + unit);
    dx = map(static_cast<Value*>(a.dx) + four);
  }
  static PIXELRNN_DEVICE int first(int pixel, int hidden, int) { return pixel * hidden; }
  PIXELRNN_DEVICE const Value* dh_at(int at) const { return dh + int64_t(at) * directions; }
  PIXELRNN_DEVICE const typename T::ActiveFour* gates_at(int at) const {
    return reinterpret_cast<const typename T::ActiveFour*>(gates + 5 * int64_t(at));
  }
  PIXELRNN_DEVICE const Active* fifth_at(int at) const { return gates + 5 * int64_t(at) + to_fifth; }
  PIXELRNN_DEVICE const float* c_at(int at) const { return c + at; }
  PIXELRNN_DEVICE typename T::Four* dx_at(int at) const {
    return reinterpret_cast<typename T::Four*>(dx + 5 * int64_t(at));
  }
  PIXELRNN_DEVICE Value* dx_fifth_at(int at) const { return dx + 5 * int64_t(at) + to_fifth; }
};

template <int N> PIXELRNN_DEVICE Slopes5<float> lane(const Slopes5<Lanes<N>>& s, int k) {
  return {s.c.v[k], s.m.v[k], s.f_of_h.v[k], s.o.v[k], s.m_of_c.v[k], s.i.v[k], s.f.v[k], s.g.v[k], s.up.v[k],
      s.left.v[k], s.above.v[k]};
}

}  // namespace pixelrnn::cuda
