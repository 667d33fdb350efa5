// The LSTM cell (eq. 3 of the paper; gates in the order i, f, g, o of torch.nn.LSTM) and its derivative, for scalars
// and for SIMD vectors alike. Math supplies sigmoid and tanh.
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

// The derivative in two steps: what a cell knows before any gradient reaches it, by what is multiplied with ...
template <class V> struct Slopes {
  V c_of_h, i, f, g, c_prev;  // ... the gradient of c; c_of_h: what of the gradient of h becomes one of c
  V o;                        // ... the gradient of h
};

template <class Math, class V> PIXELRNN_HOST_DEVICE Slopes<V> slopes(const Gates<V>& a, V c, V c_prev) {
  const V tanh_c = Math::tanh(c);
  return {a.o * (1 - tanh_c * tanh_c), a.g * a.i * (1 - a.i), c_prev * a.f * (1 - a.f), a.i * (1 - a.g * a.g), a.f,
      tanh_c * a.o * (1 - a.o)};
}

// Gradient of the pre-activations. On entry dc is the gradient of c that comes from later cells; on return it is the
// gradient of c_prev.
template <class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(const Slopes<V>& s, V dh, V& dc) {
  const V d = dc + dh * s.c_of_h;
  dc = d * s.c_prev;
  return {d * s.i, d * s.f, d * s.g, dh * s.o};
}

// In one step, from the activated gates `a`, c and c_prev: other roundings, fewer registers.
template <class Math, class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(
    const Gates<V>& a, V c, V c_prev, V dh, V& dc) {
  const V tanh_c = Math::tanh(c);
  const V d = dc + dh * a.o * (1 - tanh_c * tanh_c);
  dc = d * a.f;
  return {d * a.g * a.i * (1 - a.i), d * c_prev * a.f * (1 - a.f), d * a.i * (1 - a.g * a.g),
      dh * tanh_c * a.o * (1 - a.o)};
}

}  // namespace pixelrnn
