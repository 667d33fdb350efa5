#pragma once
#include "../../cell.h"
#include "../../cell5.h"
#include "block.cuh"
#include "lanes.cuh"

namespace pixelrnn::cuda {

// Pointers to one image in the tensors. Neighbouring pixels are `hidden` values apart.
template <Format F, int G> struct BackwardMaps {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Four = typename T::Four;
  using GateFour = typename T::GateFour;
  const Value* dh;
  const GateFour* gates;
  const float* c;
  Four* dx;

  // If `keep` is false, the compiler may compute the pointers again at each use.
  PIXELRNN_DEVICE BackwardMaps(const BackwardArgsOf<G>& a, const ThreadIds& ids, int hidden, int, bool keep) {
    const int64_t image = ids.first_pixel * hidden;
    auto map = [&](auto* first) { return keep ? ptx::opaque(first + image) : first + image; };
    dh = map(static_cast<const Value*>(a.dh));
    gates = map(static_cast<const GateFour*>(a.gates));
    c = map(a.c);
    dx = map(static_cast<Four*>(a.dx));
  }
  static PIXELRNN_DEVICE int first(int pixel, int hidden, int unit) { return pixel * hidden + unit; }
  PIXELRNN_DEVICE const Value* dh_at(int i) const { return dh + i; }
  PIXELRNN_DEVICE const GateFour* gates_at(int i) const { return gates + i; }
  PIXELRNN_DEVICE const float* c_at(int i) const { return c + i; }
  PIXELRNN_DEVICE Four* dx_at(int i) const { return dx + i; }
};

template <Format F> struct BackwardMaps<F, 5> {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Gate = typename T::Gate;
  using Four = typename T::Four;
  using GateFour = typename T::GateFour;
  const Value* dh;
  const Gate* gates;
  const float* c;
  Value* dx;
  int directions;
  int to_fifth;

  PIXELRNN_DEVICE BackwardMaps(const BackwardArgsOf<5>& a, const ThreadIds& ids, int hidden, int unit, bool keep) {
    directions = gridDim.y, to_fifth = 4 * hidden - 3 * unit;
    const int64_t image = ids.first_pixel * hidden, four = 5 * image + 4 * unit;
    auto map = [&](auto* first) { return keep ? ptx::opaque(first) : first; };
    dh = map(
        static_cast<const Value*>(a.dh) + (int64_t(ids.image) * a.pixels * directions + ids.direction) * hidden + unit);
    gates = map(static_cast<const Gate*>(a.gates) + four);
    c = map(a.c + image + unit);
    dx = map(static_cast<Value*>(a.dx) + four);
  }
  static PIXELRNN_DEVICE int first(int pixel, int hidden, int) { return pixel * hidden; }
  PIXELRNN_DEVICE const Value* dh_at(int i) const { return dh + int64_t(i) * directions; }
  PIXELRNN_DEVICE const GateFour* gates_at(int i) const {
    return reinterpret_cast<const GateFour*>(gates + 5 * int64_t(i));
  }
  PIXELRNN_DEVICE const Gate* fifth_at(int i) const { return gates + 5 * int64_t(i) + to_fifth; }
  PIXELRNN_DEVICE const float* c_at(int i) const { return c + i; }
  PIXELRNN_DEVICE Four* dx_at(int i) const { return reinterpret_cast<Four*>(dx + 5 * int64_t(i)); }
  PIXELRNN_DEVICE Value* dx_fifth_at(int i) const { return dx + 5 * int64_t(i) + to_fifth; }
};

template <int N> PIXELRNN_DEVICE Slopes5<float> element(const Slopes5<FloatN<N>>& s, int k) {
  return {s.c.v[k], s.m.v[k], s.f_of_h.v[k], s.o.v[k], s.m_of_c.v[k], s.i.v[k], s.f.v[k], s.g.v[k], s.up.v[k],
      s.left.v[k], s.above.v[k]};
}

}  // namespace pixelrnn::cuda
