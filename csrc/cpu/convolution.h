// Masked convolutions on a CPU, with stride 1 and zero padding. They compute only live taps, the kernel positions that
// the mask keeps. These are all positions before the centre (in raster order), and the centre unless the mask zeroes it
// entirely. Feature maps are contiguous, and no output overlaps another tensor. The same data, instruction set and
// number of shares (Team::threads) give the same bits.
#pragma once
#include <cstdint>

#include "team.h"

namespace pixelrnn::cpu {

struct Convolution {
  int images, height, width, in_channels, out_channels;
  int kernel_height, kernel_width;  // both are odd
  // Whether the mask is the paper's mask A. Mask B also keeps the output's own colour at the kernel's centre.
  bool strict;
  // The input channels form `colours` contiguous groups. The output channels form `gates` equal parts of `colours`
  // groups. If channels do not divide evenly, the first groups have one more.
  int colours, gates;
  bool relu;
  // Whether feature maps are [images][height][width][channels], not [images][channels][height][width].
  bool channels_last;

  int live_taps() const { return kernel_height * kernel_width / 2 + !(strict && colours == 1); }
  // Returns how many positions of the kernel's middle row the mask keeps.
  int half_row() const { return kernel_width / 2 + !(strict && colours == 1); }
  int64_t pixels() const { return int64_t(height) * width; }
  int useful_threads(ThreadLimit limit) const {
    return limit.useful(images * pixels() * live_taps() * in_channels * out_channels);
  }
};

template <class T> struct ConvolutionForward {
  const T* input;
  // [out_channels][in_channels][kernel_height][kernel_width]. No kernel reads the values that the mask zeroes.
  const T* weight;
  const T* bias;  // [out_channels], or null
  T* output;
};
template <class T> void convolve(const Convolution&, const ConvolutionForward<T>&, const Team&, int instruction_set);

template <class T> struct ConvolutionBackward {
  const T* dy;
  const T* y;  // output of the forward pass, read only if `relu` is true
  const T *input, *weight;
  // A gradient is null if not wanted. dweight is zero where the mask zeroes the weight.
  T *dinput, *dweight, *dbias;
};
template <class T>
void convolve_backward(const Convolution&, const ConvolutionBackward<T>&, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
