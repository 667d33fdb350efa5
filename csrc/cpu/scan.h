// The line recurrence of the Row LSTM, the Diagonal LSTM and LSTM2d on a CPU. No framework here: plain pointers and a
// lent team.
//
// Maps are contiguous, [directions][images][height][width][hidden], gates with a last axis [4] (i, f, g, o). Where
// there are five gates a pixel has [hidden][4] of them and then [hidden], and h and dh are
// [images][height][width][directions][hidden]. An image may fill only the top left of its map: what is outside is of
// no input read, and zero in h and dinput. The caller owns everything; outputs alias nothing. The result depends on the
// data, the instruction set and the number of threads only, to the bit.
#pragma once
#include <cstdint>

#include "../geometry.h"
#include "scan_kernels.h"
#include "team.h"
#include "weights.h"

namespace pixelrnn::cpu {

constexpr int kMostDirections = 4;

struct Extent { int height, width; };

struct Shape {
  int directions, images, height, width, hidden;
  bool diagonal;
  Corner corner[kMostDirections];          // of each direction
  int taps;                                // state-to-state
  int input_channels = 0, input_taps = 0;  // input-to-state
  int input_kernel = input_taps;           // width of the kernel whose first input_taps taps these are
  Family family = Family::kFour;
  const Extent* extents = nullptr;  // of each image; null: all are as large as the map

  int gates() const { return cpu::gates(family); }
  int columns() const { return gates() * hidden; }  // of a weight, and values of a pixel's gates
  int64_t pixels() const { return int64_t(height) * width; }
  int64_t map() const { return images * pixels(); }  // cells of one direction

  Extent extent(int64_t image) const { return extents ? extents[image] : Extent{height, width}; }
  // Of an image; without one, of an image that is as large as the map.
  Geometry geometry(int direction, Extent e) const {
    return diagonal ? Geometry::diagonal(e.height, e.width, corner[direction], width) : rows(direction, e);
  }
  Geometry geometry(int direction) const { return geometry(direction, {height, width}); }
  // The same cells by rows of the image.
  Geometry rows(int direction, Extent e) const { return Geometry::row(e.height, e.width, corner[direction], width); }

  // Where h of an image and direction begins, and from pixel to pixel of it.
  int h_stride() const { return family == Family::kFour ? hidden : directions * hidden; }
  int64_t h_at(int direction, int64_t image) const {
    return family == Family::kFour ? (direction * images + image) * pixels() * hidden
                                   : image * pixels() * h_stride() + direction * hidden;
  }
};

// The corners of one direction, or of two, which are the other way round.
inline void set_corners(Shape& s, bool reverse) { s.corner[0].right = reverse, s.corner[1].right = !reverse; }

// Pre-activations are x plus the state-to-state product plus, where `input` is given, the input-to-state product and
// bias.
template <class T> struct Forward {
  const T* x;                  // [maps, 4], or null
  Weights<const T> weight;     // of hidden channels
  const T *h0, *c0;            // [directions][hidden] states outside the image, or null: zero
  const T* input;              // [images][height][width][input_channels], which all directions read, or null
  Weights<const T> weight_ih;  // of the input's channels, with input
  Weights<const T> bias;       // of one channel, or none
  T *h, *c, *gates;            // out: [maps], [maps], activated gates [maps, gates]
  // out, or null: [images][height][width][hidden], the first direction plus the second one shifted down by a row
  T* merged = nullptr;
  TwoCarries<T> cell = {};  // of kFive; peepholes [directions][4][hidden], the border is set here
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
  T* dx;         // gradient of the pre-activations [maps, gates]
  T *dh0, *dc0;  // each image's share of them [directions][images][hidden]
  T* dinput;     // shaped as input
  WeightOutputs<T> of_weights;
  bool merged = false;
  TwoCarries<T> cell = {};
  T* dpeepholes = nullptr;  // each image's share [directions][images][4][hidden]
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
