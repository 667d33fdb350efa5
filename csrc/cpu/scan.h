// The scan of the Row LSTM, the Diagonal LSTM and LSTM2d on a CPU, without torch. Maps are contiguous:
//   h and dh are [images][height][width][directions][hidden], or [images][height][width][hidden] if merged;
//   c is [directions][images][height][width][hidden];
//   x, gates and dx are [directions][images][height][width][gates * hidden], with a pixel's gates as in kernels.h.
// An image may fill only the top left of its map. Outside the image no input is read, and h, the merged map, dx and
// dinput are zero. The caller owns all memory. Outputs alias nothing. The same data, instruction set and number of
// threads give the same bits.
#pragma once
#include <cstdint>

#include "../geometry.h"
#include "kernels.h"
#include "team.h"

namespace pixelrnn::cpu {

struct ImageSize { int height, width; };

struct Shape {
  int directions, images, height, width, hidden;
  bool diagonal;
  Corner corner[kMaxDirections];           // where each direction starts
  int taps;                                // number of state-to-state taps
  int input_channels = 0, input_taps = 0;  // channels and taps of the input-to-state product
  int input_kernel = input_taps;           // width of the input-to-state kernel; only its first input_taps taps exist
  int gates = 4;
  const ImageSize* sizes = nullptr;  // null: all images are as large as the map

  int columns() const { return gates * hidden; }
  int64_t pixels() const { return int64_t(height) * width; }

  ImageSize image_size(int64_t image) const { return sizes ? sizes[image] : ImageSize{height, width}; }
  Geometry geometry(int direction, ImageSize size) const {
    return diagonal ? Geometry::diagonal(size.height, size.width, corner[direction], width)
                    : row_geometry(direction, size);
  }
  Geometry geometry(int direction) const { return geometry(direction, {height, width}); }
  Geometry row_geometry(int direction, ImageSize size) const {
    return Geometry::row(size.height, size.width, corner[direction], width);
  }

  // The stride from pixel to pixel of h, and the offset in h of an image's direction. Both count values.
  int h_stride() const { return directions * hidden; }
  int64_t h_offset(int direction, int64_t image) const { return image * pixels() * h_stride() + direction * hidden; }
};

// How h of all directions is merged. kShift adds h of the second direction, moved down by a row, to h of the first.
// kSum adds h of all directions.
enum class Merge { kNone, kShift, kSum };

// Pre-activations are the sum of x, the state-to-state product, the input-to-state product and the bias.
template <class T> struct Forward {
  const T* x;                  // may be null
  Weights<const T> weight;     // state-to-state, with `hidden` channels
  const T *h0, *c0;            // [directions][hidden] states outside the image; null: zero
  const T* input;              // [images][height][width][input_channels], or null
  Weights<const T> weight_ih;  // input-to-state, if there is an input
  Weights<const T> bias;       // bias, with one channel, or absent
  T *h, *c, *gates;            // outputs; gates after the activation functions
  Merge merge = Merge::kNone;
  T* merged = nullptr;          // output, unless merge is kNone
  CellParameters<T> cell = {};  // used with five gates; peephole is [directions][4][hidden]
};
template <class T> void forward(const Shape&, const Forward<T>&, const Team&, int instruction_set);

// Outputs. A gradient without data is not computed.
template <class T> struct WeightGradients { Weights<T> weight, weight_ih, bias; };

template <class T> struct Backward {
  const T* dh;  // gradient of the merged map if forward() merged, else of h
  Weights<const T> weight;
  const T *h0, *c0;
  const T *h, *c, *gates;      // outputs of forward(); h is needed for dweights.weight
  const T* input;              // needed for dweights.weight_ih
  Weights<const T> weight_ih;  // needed for dinput
  // Outputs; a null output is not computed.
  T* dx;         // gradient of the pre-activations
  T *dh0, *dc0;  // [directions][images][hidden], not summed over images
  T* dinput;
  WeightGradients<T> dweights;
  Merge merge = Merge::kNone;
  CellParameters<T> cell = {};
  T* dpeephole = nullptr;  // [directions][images][4][hidden], not summed over images
};
template <class T> void backward(const Shape&, const Backward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
