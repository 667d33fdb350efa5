// The scan of the Row LSTM, the Diagonal LSTM and LSTM2d on a CPU, without torch. Maps are contiguous:
//   h, dh         [images][height][width][directions][hidden], or merged [images][height][width][hidden]
//   c             [directions][images][height][width][hidden]
//   x, gates, dx  [directions][images][height][width][gates * hidden], a pixel's gates in the order of kernels.h
// An image may fill only the top left of its map. Outside it no input is read, and h, the merged map, dx and dinput are
// zero. The caller owns all memory; outputs alias nothing. The same data, instruction set and threads give the same
// bits.
#pragma once
#include <cstdint>

#include "../geometry.h"
#include "kernels.h"
#include "team.h"

namespace pixelrnn::cpu {

struct Extent { int height, width; };

struct Shape {
  int directions, images, height, width, hidden;
  bool diagonal;
  Corner corner[kMostDirections];          // where each direction starts
  int taps;                                // number of state-to-state taps
  int input_channels = 0, input_taps = 0;  // of the input-to-state product
  int input_kernel = input_taps;           // width of the kernel, of which the first input_taps taps exist
  int gates = 4;
  const Extent* extents = nullptr;  // sizes of the images; null: as large as the map

  int columns() const { return gates * hidden; }
  int64_t pixels() const { return int64_t(height) * width; }

  Extent extent(int64_t image) const { return extents ? extents[image] : Extent{height, width}; }
  // Returns the geometry of an image of size e, by default as large as the map.
  Geometry geometry(int direction, Extent e) const {
    return diagonal ? Geometry::diagonal(e.height, e.width, corner[direction], width) : rows(direction, e);
  }
  Geometry geometry(int direction) const { return geometry(direction, {height, width}); }
  // The geometry of an image whose lines are image rows.
  Geometry rows(int direction, Extent e) const { return Geometry::row(e.height, e.width, corner[direction], width); }

  // Values from pixel to pixel of h, and the offset of a direction and image in h.
  int h_stride() const { return directions * hidden; }
  int64_t h_at(int direction, int64_t image) const { return image * pixels() * h_stride() + direction * hidden; }
};

// How h of all directions is merged: not at all, as a sum with the second direction a row lower, or as a sum.
enum class Merge { kNone, kShift, kSum };

// Pre-activations are the sum of x, the state-to-state and the input-to-state product and the bias.
template <class T> struct Forward {
  const T* x;                  // may be null
  Weights<const T> weight;     // state-to-state, with `hidden` channels
  const T *h0, *c0;            // [directions][hidden] states outside the image; null: zero
  const T* input;              // [images][height][width][input_channels], or null
  Weights<const T> weight_ih;  // input-to-state, if there is an input
  Weights<const T> bias;       // bias, with one channel, or absent
  T *h, *c, *gates;            // outputs; gates after the activation functions
  Merge merge = Merge::kNone;
  T* merged = nullptr;  // output, unless merge is kNone
  Cell<T> cell = {};    // used with five gates; peephole [directions][4][hidden]
};
template <class T> void forward(const Shape&, const Forward<T>&, const Team&, int instruction_set);

// Outputs for the gradients of weights. An absent output is not computed.
template <class T> struct WeightOutputs { Weights<T> weight, weight_ih, bias; };

template <class T> struct Backward {
  const T* dh;  // gradient of the merged map if forward() merged, else of h
  Weights<const T> weight;
  const T *h0, *c0;
  const T *h, *c, *gates;      // outputs of forward(); h is read for of_weights.weight
  const T* input;              // needed for of_weights.weight_ih
  Weights<const T> weight_ih;  // needed for dinput
  // Outputs; a null output is not computed.
  T* dx;         // gradient of the pre-activations
  T *dh0, *dc0;  // [directions][images][hidden], not summed over images
  T* dinput;     // of the shape of input
  WeightOutputs<T> of_weights;
  Merge merge = Merge::kNone;
  Cell<T> cell = {};
  T* dpeephole = nullptr;  // [directions][images][4][hidden], not summed over images
};
template <class T> void backward(const Shape&, const Backward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
