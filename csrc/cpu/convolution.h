// Masked convolutions on a CPU, stride 1, zero padding. Only live taps are computed: in raster order all taps before
// the centre, and the centre unless the mask zeroes it entirely. The caller owns all memory, maps are contiguous, and
// outputs alias nothing. The same data, instruction set and number of threads give the same bits.
#pragma once
#include <cstdint>

#include "team.h"

namespace pixelrnn::cpu {

struct Convolution {
  int images, height, width, in_channels, out_channels;
  int kernel_height, kernel_width;  // both odd
  bool strict;  // true: mask A, whose centre tap reads only earlier colours; false: mask B, also the output's colour
  int colours, gates;  // channels of the input and of each gate are `colours` contiguous groups, larger groups first
  bool relu;
  bool channels_last;  // maps are [images][height][width][channels]; otherwise [images][channels][height][width]

  int live_taps() const { return kernel_height * kernel_width / 2 + !(strict && colours == 1); }
  // The number of live taps in the centre's row. All taps in the rows above are live.
  int half_row() const { return kernel_width / 2 + !(strict && colours == 1); }
  int64_t pixels() const { return int64_t(height) * width; }
};

template <class T> struct ConvolutionForward {
  const T* input;
  const T* weight;  // [out_channels][in_channels][kernel_height][kernel_width]; masked values are not read
  const T* bias;    // [out_channels], or null
  T* output;
};
template <class T> void convolve(const Convolution&, const ConvolutionForward<T>&, const Team&, int instruction_set);

template <class T> struct ConvolutionBackward {
  const T* dy;
  const T* y;  // the forward's output, with relu
  const T *input, *weight;
  T *dinput, *dweight, *dbias;  // outputs, null if not wanted; dweight is zero where masked
};
template <class T>
void convolve_backward(const Convolution&, const ConvolutionBackward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
