// The line recurrence of the Row LSTM and the Diagonal LSTM on a CPU. No framework here: plain pointers and a lent
// team.
//
// Maps are contiguous, [directions][images][height][width][hidden], gates with a last axis [4] (i, f, g, o). The caller
// owns everything; outputs alias nothing. The result depends on the data, the instruction set and the number of threads
// only, to the bit.
#pragma once
#include <cstdint>

#include "../geometry.h"
#include "team.h"
#include "weights.h"

namespace pixelrnn::cpu {

struct Shape {
  int directions, images, height, width, hidden;
  bool diagonal, reverse;                  // reverse: the first direction is mirrored; the second is the other one
  int taps;                                // state-to-state
  int input_channels = 0, input_taps = 0;  // input-to-state
  int input_kernel = input_taps;           // width of the kernel whose first input_taps taps these are

  bool mirrored(int direction) const { return reverse != (direction == 1); }
  Geometry geometry(int direction) const {
    return diagonal ? Geometry::diagonal(height, width, mirrored(direction))
                    : Geometry::row(height, width, mirrored(direction));
  }
  int64_t pixels() const { return int64_t(height) * width; }
  int64_t map() const { return images * pixels(); }  // cells of one direction
};

// Pre-activations are x plus the state-to-state product plus, where `input` is given, the input-to-state product and
// bias.
template <class T> struct Forward {
  const T* x;                  // [maps, 4], or null
  Weights<const T> weight;     // of hidden channels
  const T *h0, *c0;            // [directions][hidden] states outside the image, or null: zero
  const T* input;              // [images][height][width][input_channels], which all directions read, or null
  Weights<const T> weight_ih;  // of the input's channels, with input
  Weights<const T> bias;       // of one channel, or none
  T *h, *c, *gates;            // out: [maps], [maps], activated gates [maps, 4]
  // out, or null: [images][height][width][hidden], the first direction plus the second one shifted down by a row
  T* merged = nullptr;
};
template <class T> void forward(const Shape&, const Forward<T>&, const Team&, int instruction_set);

// Outputs, none where they are not wanted.
template <class T> struct WeightOutputs { Weights<T> weight, weight_ih, bias; };

template <class T> struct Backward {
  const T* dh;  // [maps], or of the merged map
  Weights<const T> weight;
  const T *h0, *c0;
  const T *h, *c, *gates;      // from forward; h with of_weights.weight
  const T* input;              // with of_weights.weight_ih
  Weights<const T> weight_ih;  // with dinput
  // Outputs, null where they are not wanted.
  T* dx;         // gradient of the pre-activations [maps, 4]
  T *dh0, *dc0;  // each image's share of them [directions][images][hidden]
  T* dinput;     // shaped as input
  WeightOutputs<T> of_weights;
  bool merged = false;
};
template <class T> void backward(const Shape&, const Backward<T>&, const Team&, int instruction_set);

// The same gradients of weights, from dx.
template <class T> struct WeightGradient {
  const T* dx;
  const T *h, *h0;
  const T* input;
  WeightOutputs<T> of_weights;
};
template <class T> void weight_gradient(const Shape&, const WeightGradient<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
