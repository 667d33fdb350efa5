#pragma once
#include <cstdint>

#include "../formula.h"

namespace pixelrnn::cpu {

// A strided view of weights, [directions][taps][hidden][gates][channels]: a layer's parameters
// [gates][hidden][channels][taps] are read, and their gradients written, without copies.
template <class T> struct Weights {
  T* data = nullptr;  // null if the weights are absent
  int64_t direction = 0, tap = 0, unit = 0, gate = 0, channel = 1;

  explicit operator bool() const { return data; }
  // Returns the weights of tap k of direction d.
  Weights of(int d, int k) const {
    Weights w = *this;
    if (data) w.data += d * direction + k * tap;
    return w;
  }
  T* row(int64_t u, int64_t g) const { return data + u * unit + g * gate; }
  // Returns column c of the weights. Columns are four gates of each unit, then the fifth gates of all units.
  T* column(int64_t c, int64_t hidden) const { return c < 4 * hidden ? row(c / 4, c % 4) : row(c - 4 * hidden, 4); }
};

// The cells that a kernel takes at once, and pointers to their operands.
template <class T> struct Rows {
  int cells, taps;
  const int* channels;    // [taps] values that a tap reads at a pixel
  const T* const* tap;    // [taps][cells] -> [channels]
  const T* const* carry;  // [cells] -> [hidden] c of the chain's previous cell
  const T* const* dh;     // [cells] -> [hidden] gradient of h from outside the scan, backward
  const int64_t* cell;    // [cells] index of the cell in the maps of its direction
  const int64_t* chain;   // [cells] index of the chain of cells along which c is carried
  int64_t ahead;          // index distance to the chain's next cell, for prefetching
  // Only with two carries:
  const T* const* carry_up;  // [cells] -> [hidden] c of the cell above
  const T* const* dc_below;  // [cells] -> [hidden] gradient of c that comes from the cell below, backward
  T* const* dc_up;           // [cells] -> [hidden] output: gradient of carry_up, backward
};

// A tile of the scan takes some cells and one block of units: it multiplies the cells' operands by the weights and
// computes the LSTM cell from the sums in registers, so pre-activations are never stored. Maps are channels-last. A
// pixel's gates are the four gates of each unit, then the fifth gates, if any, of all units.
enum class Pass { kForward, kBackward };

// The maps of one direction, [images][pixels][hidden] or [images][pixels][gates * hidden].
template <class T> struct ForwardMaps {
  const T* x;  // added to the pre-activations; may be null
  T *h, *c, *gates;
  int64_t h_stride;           // values from one pixel of h to the next; h holds the units of all directions
  Cell<T> cell = {};          // used with five gates, like border
  const T* border = nullptr;  // carry_up of the cells without an upper neighbour
};
template <class T> struct BackwardMaps {
  const T *c, *gates;
  T* dc;              // [chains][hidden] gradient of c, carried along the chain
  T* dx;              // gradient of the pre-activations
  int64_t dh_stride;  // values from one pixel of dh to the next
  Cell<T> cell = {};  // used with five gates
};

template <class T> struct ScanKernels {
  // A tile takes block_units units and at most max_cells cells.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // Packs blocks b0 <= b < b1 of all taps' weights in a tile's order of reading, transposed for the backward.
  void (*pack)(
      Pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1);
  void (*forward)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const ForwardMaps<T>&);
  void (*backward)(
      const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>&);
};

template <class T> struct ConvolutionKernels {
  // Computes y [cells][outputs] for the block of outputs from o0 on: the taps' values times packed [all
  // channels][block_outputs].
  int (*block_outputs)(int outputs, int o0);
  int max_cells;
  void (*convolve)(const Rows<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y);
  // copy() copies n values, transpose() turns [rows][columns] into [columns][rows]. If y, laid out like `from`, is
  // given, values with y <= 0 become zero.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

template <class T> struct WeightGradientKernels {
  // add() adds the products of the taps' values and dy [cells][outputs], summed over cells, to sum [channels of all
  // taps][columns]. Columns are the outputs (a scan's gates), padded. It takes columns c0 <= c < c1: groups of
  // group_columns except at the end. scratch holds scratch_size values.
  int (*columns)(int outputs);
  int group_columns, scratch_size;
  // total() adds `sums` sums [channels][columns], which lie `size` values apart, in order; `row` values lie between
  // channels. Channel j of column i goes to to[i][j * step].
  void (*total)(
      int sums, int64_t size, const T* sum, int64_t row, int columns, int channels, T* const* to, int64_t step);
  void (*add)(const Rows<T>&, int outputs, int c0, int c1, const T* dy, T* sum, T* scratch);
};

// Packed weights of run_columns are [blocks][channels of all taps][outputs of a block], in a cell step
// [blocks][channels of all taps][4 gates][units of a block], padded with zeros. A tile reads a block in order.
struct ColumnBlocks { int outputs, units; };

// The first image's values. The next image's values are `stride` values further.
template <class T> struct Column {
  T* data;
  int64_t stride;
};
template <class T> struct ColumnOperand {
  Column<const T> input;
  int64_t channels;
};
template <class T> struct LinearColumn {
  Column<const T> base;
  Column<T> output;
  bool relu;
};
template <class T> struct CellColumn {
  Column<const T> base, carried, addend;
  Column<T> c, h, output;
  int64_t hidden;  // base is [4][hidden]
};
// All pointers are null if T has no kernels.
template <class T> struct ColumnKernels {
  ColumnBlocks blocks;
  void (*linear)(
      const ColumnOperand<T>*, int taps, const T* packed, int64_t outputs, int64_t images, const LinearColumn<T>&);
  void (*cell)(const ColumnOperand<T>*, int taps, const T* packed, int64_t units, int64_t images, const CellColumn<T>&);
};

template <class T> struct Kernels {
  ScanKernels<T> scan[2];  // kernels for four gates, for five gates
  ConvolutionKernels<T> convolution;
  WeightGradientKernels<T> weight_gradient;
  ColumnKernels<T> columns, grid_columns;               // grid_columns: rounded to the grid (grid.h), double only
  void (*round)(T* x, int64_t n, T integral, T limit);  // tiles/columns.h, double only
  // For tests: y = sigmoid(x) or tanh(x).
  void (*activation)(bool is_tanh, int64_t n, const T* x, T* y);
};

// Instruction sets by level. x86-64: baseline, avx2 (with FMA), avx512. AArch64: baseline, neon. Others: baseline.
template <class T> const Kernels<T>& kernels(int level);
const char* instruction_set_name(int level);
int best_instruction_set();

}  // namespace pixelrnn::cpu
