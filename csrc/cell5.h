// The cells of LSTM2d and their gradients (docs/two_dimensional_lstm.md). A cell has five gates, because it combines c
// of its left and its upper neighbour. All functions take scalars or SIMD vectors.
#pragma once
#include "formula.h"
#include "host_device.h"

namespace pixelrnn {

// The gate `up` weights c of the upper neighbour.
template <class V> struct FiveGates { V i, f, g, o, up; };

// A peephole adds c, times its weight, to the pre-activation of a gate. Only cells with the formula kForget have
// peepholes.
template <class V> struct Peepholes { V i, f, up, o; };

// The result of the forward pass of one cell, except for the hidden state h. The caller computes h as outer *
// tanh(inner), from the members `outer` and `inner`.
template <class V> struct CellOutput {
  FiveGates<V> gates;
  V c, inner, outer;
};

constexpr int kClip = 100;  // cells with the formula kMax clamp c to [-kClip, kClip]

template <class Mask, class V> PIXELRNN_HOST_DEVICE V select(const Mask& mask, const V& yes, const V& no) {
  return mask ? yes : no;
}

template <class V> PIXELRNN_HOST_DEVICE V mean_of_neighbours(const FiveGates<V>& a, V c_left, V c_up) {
  return a.up * c_up + (1 - a.up) * c_left;
}

// Computes a cell from its pre-activations z. is_first is true if the cell has no upper neighbour. peepholes may be
// null.
template <class Math, class V, class S, class Mask> PIXELRNN_HOST_DEVICE CellOutput<V> cell5(
    Formula formula, S scale, const Peepholes<V>* peepholes, const Mask& is_first, FiveGates<V> z, V c_left, V c_up) {
  if (peepholes) {
    z.i += peepholes->i * (c_up + c_left);
    z.f += peepholes->f * c_left;
    z.up += peepholes->up * c_up;
  }
  FiveGates<V> a{Math::sigmoid(z.i), Math::sigmoid(z.f), Math::tanh(z.g), z.o, Math::sigmoid(z.up)};
  V c;
  switch (formula) {
    case Formula::kLeaky: {
      const V m = mean_of_neighbours(a, c_left, c_up);
      c = a.i * a.g + (1 - a.i) * m;
      a.o = Math::sigmoid(z.o);
      return {a, c, a.f * m + a.o * c, V{} + 1};
    }
    case Formula::kStable: c = a.f * mean_of_neighbours(a, c_left, c_up) + a.i * a.g; break;
    case Formula::kForget: c = (a.f * c_left + a.up * c_up) * scale + a.i * a.g; break;
    // The formula kMax uses only one of a cell's two forget gates: `f`, for the left neighbour, or `up`, for the upper
    // neighbour. The cell stores 0 for the unused gate, so the backward computes a zero gradient for that gate.
    case Formula::kMax: {
      const auto takes_left = a.f >= a.up;
      a.f = select(is_first, a.f, select(takes_left, a.f, V{}));
      a.up = select(is_first, V{}, select(takes_left, V{}, a.up));
      c = Math::clamp(a.f * c_left + a.up * c_up + a.i * a.g, S(kClip));
    }
  }
  if (peepholes) z.o += peepholes->o * c;
  a.o = Math::sigmoid(z.o);
  return {a, c, c, a.o};
}

// Returns the gradients of the five pre-activations. On entry, dc_left and dc_up are the gradients of this cell's c
// from the cells to the right and below. On return, they are the gradients of c_left and c_up.
template <class Math, class V, class S> PIXELRNN_HOST_DEVICE FiveGates<V> cell5_backward(Formula formula, S scale,
    const Peepholes<V>* peepholes, const FiveGates<V>& a, V c, V c_left, V c_up, V dh, V& dc_left, V& dc_up) {
  V d = dc_left + dc_up;
  FiveGates<V> dz;
  if (formula == Formula::kLeaky) {
    const V m = mean_of_neighbours(a, c_left, c_up), h = Math::tanh(a.f * m + a.o * c), e = dh * (1 - h * h);
    d += e * a.o;
    const V dm = e * a.f + d * (1 - a.i);
    dc_left = dm * (1 - a.up);
    dc_up = dm * a.up;
    return {d * (a.g - m) * a.i * (1 - a.i), e * m * a.f * (1 - a.f), d * a.i * (1 - a.g * a.g),
        e * c * a.o * (1 - a.o), dm * (c_up - c_left) * a.up * (1 - a.up)};
  }
  const V tanh_c = Math::tanh(c);
  dz.o = dh * tanh_c * a.o * (1 - a.o);
  d += dh * a.o * (1 - tanh_c * tanh_c);
  if (peepholes) d += peepholes->o * dz.o;
  if (formula == Formula::kMax) d = select(c >= S(kClip), V{}, select(c <= S(-kClip), V{}, d));
  dz.i = d * a.g * a.i * (1 - a.i);
  dz.g = d * a.i * (1 - a.g * a.g);
  if (formula == Formula::kStable) {
    const V m = mean_of_neighbours(a, c_left, c_up), dm = d * a.f;
    dz.f = d * m * a.f * (1 - a.f);
    dz.up = dm * (c_up - c_left) * a.up * (1 - a.up);
    dc_left = dm * (1 - a.up);
    dc_up = dm * a.up;
    return dz;
  }
  d *= scale;
  dz.f = d * c_left * a.f * (1 - a.f);
  dz.up = d * c_up * a.up * (1 - a.up);
  dc_left = d * a.f;
  dc_up = d * a.up;
  if (peepholes) {
    dc_left += peepholes->i * dz.i + peepholes->f * dz.f;
    dc_up += peepholes->i * dz.i + peepholes->up * dz.up;
  }
  return dz;
}

// Partial derivatives of a cell of five gates without peepholes. m is the weighted sum of c_left and c_up.
template <class V> struct Slopes5 {
  // Derivatives of h with respect to c, to m (the weighted sum of c_left and c_up), and to the pre-activations of the
  // gates f and o.
  V c, m, f_of_h, o;
  // Derivatives of c with respect to m (the weighted sum of c_left and c_up), and to the pre-activations of the gates
  // i, f and g.
  V m_of_c, i, f, g;
  // Derivatives of m, the weighted sum of c_left and c_up, with respect to the pre-activation of the gate `up`, to
  // c_left and to c_up.
  V up, left, above;
};

template <class Math, class V, class S> PIXELRNN_HOST_DEVICE Slopes5<V> slopes5(
    Formula formula, S scale, const FiveGates<V>& a, V c, V c_left, V c_up) {
  Slopes5<V> s{};
  const V i_of_z = a.i * (1 - a.i), f_of_z = a.f * (1 - a.f), up_of_z = a.up * (1 - a.up), o_of_z = a.o * (1 - a.o);
  const V m = mean_of_neighbours(a, c_left, c_up);
  const V t = Math::tanh(formula == Formula::kLeaky ? a.f * m + a.o * c : c), of_tanh = 1 - t * t;
  s.g = a.i * (1 - a.g * a.g), s.i = a.g * i_of_z, s.c = a.o * of_tanh;
  if (formula == Formula::kLeaky) {  // [branch: formula]
    s.m = a.f * of_tanh, s.m_of_c = 1 - a.i;
    s.i = s.i - m * i_of_z, s.f_of_h = of_tanh * m * f_of_z, s.o = of_tanh * c * o_of_z;
  } else {
    s.o = t * o_of_z;
  }
  if (formula == Formula::kLeaky || formula == Formula::kStable) {
    s.up = (c_up - c_left) * up_of_z, s.left = 1 - a.up, s.above = a.up;
    if (formula == Formula::kStable) s.f = m * f_of_z, s.m_of_c = a.f;
    return s;
  }
  s.f = c_left * f_of_z * scale, s.up = c_up * up_of_z, s.left = a.f, s.above = a.up, s.m_of_c = V{} + scale;
  if (formula == Formula::kMax) {  // [branch: formula]
    const auto is_clipped_up = c >= S(kClip), is_clipped_down = c <= S(-kClip);
    auto cut = [&](V v) { return select(is_clipped_up, V{}, select(is_clipped_down, V{}, v)); };
    s.m_of_c = cut(s.m_of_c), s.i = cut(s.i), s.f = cut(s.f), s.g = cut(s.g);
  }
  return s;
}

template <class V> PIXELRNN_HOST_DEVICE FiveGates<V> cell5_backward(const Slopes5<V>& s, V dh, V& dc_left, V& dc_up) {
  const V d = dc_left + dc_up + dh * s.c, dm = d * s.m_of_c + dh * s.m;
  dc_left = dm * s.left;
  dc_up = dm * s.above;
  return {d * s.i, d * s.f + dh * s.f_of_h, d * s.g, dh * s.o, dm * s.up};
}

}  // namespace pixelrnn
