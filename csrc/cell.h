// An LSTM cell (equation 3 of the PixelRNN paper) and its gradient. The gates i, f, g and o are named as in
// torch.nn.LSTM. All functions take scalars or SIMD vectors.
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

// Partial derivatives of an LSTM cell. The backward can compute them before it has the gradients of h and c.
template <class V> struct Slopes {
  V c_of_h;  // derivative of h with respect to c
  // Derivatives of c with respect to the pre-activations of i, f and g, and to c_prev.
  V i, f, g, c_prev;
  V o;  // derivative of h with respect to o's pre-activation
};

template <class Math, class V> PIXELRNN_HOST_DEVICE Slopes<V> slopes(const Gates<V>& a, V c, V c_prev) {
  const V tanh_c = Math::tanh(c);
  return {a.o * (1 - tanh_c * tanh_c), a.g * a.i * (1 - a.i), c_prev * a.f * (1 - a.f), a.i * (1 - a.g * a.g), a.f,
      tanh_c * a.o * (1 - a.o)};
}

// Returns the gradients of the four pre-activations. On entry, dc is the gradient of c from later cells. On return, dc
// is the gradient of the previous cell's c.
template <class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(const Slopes<V>& s, V dh, V& dc) {
  const V d = dc + dh * s.c_of_h;
  dc = d * s.c_prev;
  return {d * s.i, d * s.f, d * s.g, dh * s.o};
}

// This overload computes the partial derivatives itself, so it needs fewer registers than the overload that takes them
// as Slopes. The results of the two overloads may differ in the last bits.
template <class Math, class V> PIXELRNN_HOST_DEVICE Gates<V> cell_backward(
    const Gates<V>& a, V c, V c_prev, V dh, V& dc) {
  const V tanh_c = Math::tanh(c);
  const V d = dc + dh * a.o * (1 - tanh_c * tanh_c);
  dc = d * a.f;
  return {d * a.g * a.i * (1 - a.i), d * c_prev * a.f * (1 - a.f), d * a.i * (1 - a.g * a.g),
      dh * tanh_c * a.o * (1 - a.o)};
}

}  // namespace pixelrnn
