// What the scan asks of one instruction set: register tiles over a few cells and one block of units.
//
// A tile computes, for some cells of a line, the product of everything the cells read with the weights, and the LSTM cell
// as its epilogue, so that pre-activations are never written. Maps are channels-last; the four gates of a unit are adjacent.
#pragma once
#include <cstdint>

namespace pixelrnn::cpu {

enum class Pass { kForward, kBackward };

// Some cells of one line, and where each of their operands lies.
template <class T> struct Rows {
  int cells, taps;
  const int* channels;     // [taps] values that a tap reads of a pixel
  const T* const* tap;     // [taps][cells] -> [channels]
  const T* const* carry;   // [cells] -> [hidden] c of the cell before
  const int64_t* cell;     // [cells] index of the cell in the maps of its direction
  const int64_t* chain;    // [cells] index of the chain of cells that carry c on
  int64_t ahead;           // from a cell to the one that the chain reaches next, for prefetching
};

// The maps of one direction, [images][pixels][hidden] or [images][pixels][hidden][4].
template <class T> struct ForwardMaps {
  const T* x;              // added to the pre-activations; may be null
  T *h, *c, *gates;
};
template <class T> struct BackwardMaps {
  const T *dh, *c, *gates;
  T* dc;                   // [chains][hidden]: gradient of the running c
  T* dx;                   // gradient of the pre-activations
};

template <class T> struct Kernels {
  // Units that a tile computes at once, and cells that it takes at the most.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // Weights of block b0 <= b < b1, in the order in which a tile reads them. A tap's weight is [hidden][4][channels].
  // Forward: products with the taps' values. Backward: transposed, channels are units.
  void (*pack)(Pass, int hidden, int taps, const int* channels, const T* const* weight, T* packed, int b0, int b1);
  void (*forward)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const ForwardMaps<T>&);
  void (*backward)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>&);
  // Weight gradient of the cells of `rows`, from dy [cells][outputs], added to sum [all channels of all taps][columns]: the
  // outputs (of a scan: units x gates), padded. scratch: scratch_size values.
  int (*columns)(int outputs);
  int scratch_size;
  void (*weight_gradient)(const Rows<T>&, int outputs, const T* dy, T* sum, T* scratch);
  // y = sigmoid(x) or tanh(x), for tests.
  void (*activation)(bool is_tanh, int64_t n, const T* x, T* y);
  // Convolutions. y [cells][outputs] = the taps' values times packed [all channels][block_outputs], for the block of outputs
  // from o0 on and at most convolution_cells cells.
  int (*block_outputs)(int outputs, int o0);
  int convolution_cells;
  void (*convolve)(const Rows<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y);
  // to = from [n]; to [columns][rows] = from [rows][columns]. Zero where y, laid out as `from`, is given and not positive.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

// One of these in each cpu/tiles_*.cpp.
template <class T> const Kernels<T>& baseline_kernels();
template <class T> const Kernels<T>& avx2_kernels();
template <class T> const Kernels<T>& avx512_kernels();

// Instruction sets by level: 0 baseline, 1 AVX2 with FMA, 2 AVX-512.
int best_instruction_set();
template <class T> const Kernels<T>& kernels(int level);

}  // namespace pixelrnn::cpu
