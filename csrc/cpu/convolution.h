// Masked convolutions on a CPU: stride 1, zeros around the map, over the taps that the mask leaves alive. In raster
// order those are the first taps of the kernel: all before the centre, and the centre unless nothing of it is alive.
//
// The caller owns everything, maps are without gaps and outputs alias nothing. The result depends on the data, the
// instruction set and the number of threads only, to the bit.
#pragma once
#include <cstdint>

#include "team.h"

namespace pixelrnn::cpu {

struct Convolution {
  int images, height, width, in_channels, out_channels;
  int kernel_height, kernel_width;  // odd
  bool strict;         // mask A: at the centre a pixel reads the colours before its own. Otherwise its own too: mask B
  int colours, gates;  // contiguous groups of channels, the larger ones first; of outputs within each gate
  bool relu;
  bool channels_last;  // maps are [images][height][width][channels]; otherwise [images][channels][height][width]

  int live_taps() const { return kernel_height * kernel_width / 2 + !(strict && colours == 1); }
  // Live taps of the centre's row; all rows above it are alive.
  int half_row() const { return kernel_width / 2 + !(strict && colours == 1); }
  int64_t pixels() const { return int64_t(height) * width; }
};

template <class T> struct ConvolutionForward {
  const T* input;
  const T* weight;  // [out_channels][in_channels][kernel_height][kernel_width], of which the live part is read
  const T* bias;    // [out_channels], or null
  T* output;
};
template <class T> void convolve(const Convolution&, const ConvolutionForward<T>&, const Team&, int instruction_set);

template <class T> struct ConvolutionBackward {
  const T* dy;
  const T* y;  // with relu
  const T *input, *weight;
  T *dinput, *dweight, *dbias;  // out, null: not wanted; dweight is zero where the mask is
};
template <class T>
void convolve_backward(const Convolution&, const ConvolutionBackward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
