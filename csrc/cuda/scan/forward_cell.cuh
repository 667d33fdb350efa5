#pragma once
#include "../../cell.h"
#include "../../cell5.h"
#include "block.cuh"
#include "format.cuh"
#include "lanes.cuh"

namespace pixelrnn::cuda {

// Pointers to a thread's hidden unit in one image. The index pixel * hidden fits 32 bits, because the planner limits
// the sizes.
template <Format F, int G = 4> struct ForwardMaps {
  using T = Traits<F>;
  using Input = typename T::Four;
  const Input* x;
  typename T::Value* h;
  float* c;
  typename T::GateFour* gates;

  PIXELRNN_DEVICE ForwardMaps(const ForwardArgsOf<G>& a, const ThreadIds& ids, int unit, bool keep) {
    const int64_t first = ids.first_pixel * a.tiling.hidden + unit;
    x = static_cast<const Input*>(a.x) + first, h = static_cast<typename T::Value*>(a.h) + first, c = a.c + first,
    gates = static_cast<typename T::GateFour*>(a.gates) + first;
    if (keep) x = ptx::opaque(x), h = ptx::opaque(h), c = ptx::opaque(c), gates = ptx::opaque(gates);
  }
  PIXELRNN_DEVICE Input load(int i) const { return x[i]; }
  template <int ROWS> static PIXELRNN_DEVICE void start(float (&z)[ROWS][2], int j, const Input& x) {
    const float4 in = widen(x);
    z[0][j] = in.x, z[1][j] = in.y, z[2][j] = in.z, z[3][j] = in.w;
  }
};

template <Format F, int G = 4> struct CellResult {
  using T = Traits<F>;
  typename T::Value h;
  typename T::GateFour gates;
  static PIXELRNN_DEVICE Gates<float> activated(float i, float f, float g, float o) {
    return activate<typename T::Math>(Gates<float>{i, f, g, o});
  }
  PIXELRNN_DEVICE float compute(const Gates<float>& cell, float c) {
    const float next = next_c(cell, c);
    h = T::narrow(hidden_state<typename T::Math>(cell, next));
    gates = T::narrow_gate(make_float4(cell.i, cell.f, cell.g, cell.o));
    return next;
  }
  PIXELRNN_DEVICE void store(const ForwardMaps<F>& maps, int to, float c) const {
    maps.h[to] = h;
    maps.c[to] = c;
    maps.gates[to] = gates;
  }
};

template <Format F> struct ForwardMaps<F, 5> {
  using T = Traits<F>;
  using Value = typename T::Value;
  using Gate = typename T::Gate;
  struct Input {
    typename T::Four four;
    Value fifth;
  };
  const Value *x, *x_fifth;
  Value* h;
  float* c;
  Gate *gates, *gates_fifth;
  int directions;

  PIXELRNN_DEVICE ForwardMaps(const ForwardArgsOf<5>& a, const ThreadIds& ids, int unit, bool keep) {
    const int hidden = a.tiling.hidden;
    directions = gridDim.y;
    const int64_t image = ids.first_pixel * hidden, four = 5 * image + 4 * unit, fifth = 5 * image + 4 * hidden + unit;
    x = static_cast<const Value*>(a.x) + four, x_fifth = static_cast<const Value*>(a.x) + fifth;
    h = static_cast<Value*>(a.h) + (int64_t(ids.image) * a.pixels * directions + ids.direction) * hidden + unit;
    c = a.c + image + unit;
    gates = static_cast<Gate*>(a.gates) + four, gates_fifth = static_cast<Gate*>(a.gates) + fifth;
    if (keep)
      x = ptx::opaque(x), x_fifth = ptx::opaque(x_fifth), h = ptx::opaque(h), c = ptx::opaque(c),
      gates = ptx::opaque(gates), gates_fifth = ptx::opaque(gates_fifth);
  }
  PIXELRNN_DEVICE Input load(int i) const {
    return {*reinterpret_cast<const typename T::Four*>(x + 5 * int64_t(i)), x_fifth[5 * int64_t(i)]};
  }
  template <int ROWS> static PIXELRNN_DEVICE void start(float (&z)[ROWS][2], int j, const Input& x) {
    ForwardMaps<F, 4>::start(z, j, x.four);
    z[4][j] = widen(x.fifth);
    if constexpr (ROWS > 5) z[5][j] = 0;
  }
};

template <Format F> struct CellResult<F, 5> {
  using T = Traits<F>;
  typename T::Value h;
  typename T::GateFour four;
  typename T::Gate fifth;
  template <int ROWS> static PIXELRNN_DEVICE FloatN<2> compute(CellResult (&results)[2],
      const CellParameters<float>& cell, const float (&z)[ROWS][2], bool is_first, FloatN<2> c_left, FloatN<2> c_up) {
    using Math = VectorMath<typename T::Math>;
    auto sum = [&](int gate) { return FloatN<2>{z[gate][0], z[gate][1]}; };
    const CellOutput<FloatN<2>> out =
        cell5<Math>(cell.formula, cell.scale, static_cast<const Peepholes<FloatN<2>>*>(nullptr),
            BoolN<2>{is_first, false}, {sum(0), sum(1), sum(2), sum(3), sum(4)}, c_left, c_up);
    const FloatN<2> h = out.outer * Math::tanh(out.inner);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const FiveGates<FloatN<2>>& a = out.gates;
      results[j] = {T::narrow(h.v[j]), T::narrow_gate(make_float4(a.i.v[j], a.f.v[j], a.g.v[j], a.o.v[j])),
          T::narrow_gate(a.up.v[j])};
    }
    return out.c;
  }
  PIXELRNN_DEVICE void store(const ForwardMaps<F, 5>& maps, int to, float c) const {
    maps.h[int64_t(to) * maps.directions] = h;
    maps.c[to] = c;
    *reinterpret_cast<typename T::GateFour*>(maps.gates + 5 * int64_t(to)) = four;
    maps.gates_fifth[5 * int64_t(to)] = fifth;
  }
};

}  // namespace pixelrnn::cuda
