// The LSTM cell (eq. 3 of the paper; gates i, f, g, o as in torch.nn.LSTM) and its derivative, for scalars and SIMD
// vectors. Math supplies sigmoid and tanh.
#pragma once
#include "host_device.h"

namespace pixelrnn {

template <class V> struct Gates { V i, f, g, o; };

template <class Math, class V> PIXELRNN_HOST_DEVICE Gates<V> activate(const Gates<V>& z) {
  return {Math::sigmoid(z.i), Math::sigmoid(z.f), Math::tanh(z.g), Math::sigmoid(z.o)};
}

template <class V> PIXELRNN_HOST_DEVICE V next_c(const Gates<V>& a, V c_prev) { return a.f * c_prev + a.i * a.g; }

template <class Math, class V> PIXELRNN_HOST_DEVICE V hidden_state(const Gates<V>& a, V c) {
  return a.o * Math::tanh(c);
}

// The factors by which a cell's backward multiplies gradients, known before any gradient arrives.
template <class V> struct Slopes {
  V c_of_h;           // dh times this factor contributes to the gradient of c
  V i, f, g, c_prev;  // the gradient of c times these factors is the gradient of i, f, g or c_prev
  V o;                // dh times this factor is the gradient of o
};

template <class Math, class V> PIXELRNN_HOST_DEVICE Slopes<V> slopes(const Gates<V>& a, V c, V c_prev) {
  const V tanh_c = Math::tanh(c);
  return {a.o * (1 - tanh_c * tanh_c), a.g * a.i * (1 - a.i), c_prev * a.f * (1 - a.f), a.i * (1 - a.g * a.g), a.f,
      tanh_c * a.o * (1 - a.o)};
}

// Returns the gradient of the pre-activations. On entry dc is the gradient of c from later cells, on return the
// gradient of c_prev.
template <class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(const Slopes<V>& s, V dh, V& dc) {
  const V d = dc + dh * s.c_of_h;
  dc = d * s.c_prev;
  return {d * s.i, d * s.f, d * s.g, dh * s.o};
}

// Like the overload for Slopes, but from the activated gates `a`, c and c_prev, with fewer registers and other
// roundings.
template <class Math, class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(
    const Gates<V>& a, V c, V c_prev, V dh, V& dc) {
  const V tanh_c = Math::tanh(c);
  const V d = dc + dh * a.o * (1 - tanh_c * tanh_c);
  dc = d * a.f;
  return {d * a.g * a.i * (1 - a.i), d * c_prev * a.f * (1 - a.f), d * a.i * (1 - a.g * a.g),
      dh * tanh_c * a.o * (1 - a.o)};
}

}  // namespace pixelrnn
