// The scan of the Row LSTM, the Diagonal LSTM and LSTM2d on a CPU. No framework here: plain pointers and a lent team.
//
// Maps are contiguous: h and dh are [images][height][width][directions][hidden], or merged
// [images][height][width][hidden]; c is [directions][images][height][width][hidden]; x, gates and dx are
// [directions][images][height][width][gates * hidden], the four gates of each unit (i, f, g, o), then the fifth gates
// of all units. An image may fill only the top left of its map: no input is read outside of it, and h, the merged map,
// dx and dinput are zero there. The caller owns everything; outputs alias nothing. The result depends on the data, the
// instruction set and the number of threads only, to the bit.
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
  Corner corner[kMostDirections];          // of each direction
  int taps;                                // state-to-state
  int input_channels = 0, input_taps = 0;  // input-to-state
  int input_kernel = input_taps;           // width of the kernel whose first input_taps taps these are
  int gates = 4;                           // of a unit
  const Extent* extents = nullptr;         // of each image; null: all are as large as the map

  int columns() const { return gates * hidden; }  // of a weight, and values of a pixel's gates
  int64_t pixels() const { return int64_t(height) * width; }

  Extent extent(int64_t image) const { return extents ? extents[image] : Extent{height, width}; }
  // The geometry of an image; without an extent, of an image that is as large as the map.
  Geometry geometry(int direction, Extent e) const {
    return diagonal ? Geometry::diagonal(e.height, e.width, corner[direction], width) : rows(direction, e);
  }
  Geometry geometry(int direction) const { return geometry(direction, {height, width}); }
  // The geometry of the same cells, whose lines are rows of the image.
  Geometry rows(int direction, Extent e) const { return Geometry::row(e.height, e.width, corner[direction], width); }

  // Values from pixel to pixel of h, and where h of an image and direction begins.
  int h_stride() const { return directions * hidden; }
  int64_t h_at(int direction, int64_t image) const { return image * pixels() * h_stride() + direction * hidden; }
};

// How the maps of all directions become one: by a sum, in which the second direction may be moved down by a row.
enum class Merge { kNone, kShift, kSum };

// Pre-activations are x plus the state-to-state product plus, where `input` is given, the input-to-state product and
// bias.
template <class T> struct Forward {
  const T* x;                  // or null
  Weights<const T> weight;     // of hidden channels
  const T *h0, *c0;            // [directions][hidden] states outside the image, or null: zero
  const T* input;              // [images][height][width][input_channels], which all directions read, or null
  Weights<const T> weight_ih;  // of the input's channels, with input
  Weights<const T> bias;       // of one channel, or none
  T *h, *c, *gates;            // out; the gates are activated
  Merge merge = Merge::kNone;
  T* merged = nullptr;  // out, with a merge
  Cell<T> cell = {};    // of five gates; peephole [directions][4][hidden]
};
template <class T> void forward(const Shape&, const Forward<T>&, const Team&, int instruction_set);

// Outputs, none where they are not wanted.
template <class T> struct WeightOutputs { Weights<T> weight, weight_ih, bias; };

template <class T> struct Backward {
  const T* dh;  // merged where the forward merged
  Weights<const T> weight;
  const T *h0, *c0;
  const T *h, *c, *gates;      // from forward; h with of_weights.weight
  const T* input;              // with of_weights.weight_ih
  Weights<const T> weight_ih;  // with dinput
  // Outputs, null where they are not wanted.
  T* dx;         // gradient of the pre-activations
  T *dh0, *dc0;  // each image's share of them [directions][images][hidden]
  T* dinput;     // shaped as input
  WeightOutputs<T> of_weights;
  Merge merge = Merge::kNone;
  Cell<T> cell = {};
  T* dpeephole = nullptr;  // each image's share [directions][images][4][hidden]
};
template <class T> void backward(const Shape&, const Backward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
