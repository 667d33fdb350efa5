// The cells of LSTM2d, which carry on the states of both neighbours, and their derivatives, for scalars and for SIMD
// vectors alike (docs/two_dimensional_lstm.md has the equations). Which one is a choice at run time that all cells of a
// scan share: next to some hundred instructions it costs a branch that is predicted. Math supplies sigmoid, tanh and
// clamp.
#pragma once
#include "formula.h"
#include "host_device.h"

namespace pixelrnn {

// A unit's gates, by place: i, f, g, o as in a cell of four, and what the upper neighbour brings.
template <class V> struct FiveGates { V i, f, g, o, up; };

// Of a cell and its derivative: what the state adds to the pre-activations. They belong to kForget.
template <class V> struct Peepholes { V i, f, up, o; };

// h is outer * tanh(inner).
template <class V> struct CellOutput {
  FiveGates<V> gates;
  V c, inner, outer;
};

constexpr int kClip = 100;  // of |c|, with kMax

template <class V> PIXELRNN_HOST_DEVICE V mean_of_neighbours(const FiveGates<V>& a, V c_left, V c_up) {
  return a.up * c_up + (1 - a.up) * c_left;
}

// From the pre-activations z. is_first: there is no upper neighbour. peepholes: null where there are none.
template <class Math, class V, class S> PIXELRNN_HOST_DEVICE CellOutput<V> cell2d(
    Formula formula, S scale, const Peepholes<V>* peepholes, bool is_first, FiveGates<V> z, V c_left, V c_up) {
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
    case Formula::kMax: {  // the gate that loses is stored as 0, so that the derivative cannot choose the other one
      const auto takes_left = a.f >= a.up;
      if (!is_first) a.f = takes_left ? a.f : V{};
      a.up = is_first ? V{} : V(takes_left ? V{} : a.up);
      c = Math::clamp(a.f * c_left + a.up * c_up + a.i * a.g, S(kClip));
    }
  }
  if (peepholes) z.o += peepholes->o * c;
  a.o = Math::sigmoid(z.o);
  return {a, c, c, a.o};
}

// Gradient of the pre-activations, from the activated gates `a`. On entry dc_left and dc_up are the gradients of c that
// come from the right and from below; on return those of c_left and c_up.
template <class Math, class V, class S> PIXELRNN_HOST_DEVICE FiveGates<V> cell2d_backward(Formula formula, S scale,
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
  if (formula == Formula::kMax) d = c >= S(kClip) ? V{} : V(c <= S(-kClip) ? V{} : d);
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

}  // namespace pixelrnn
