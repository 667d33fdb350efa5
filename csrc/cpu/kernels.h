#pragma once
#include <cstdint>

#include "../formula.h"

namespace pixelrnn::cpu {

// A strided view [directions][taps][hidden][gates][channels] of weights, so that a layer's parameters
// [gates][hidden][channels][taps] and their gradients need no copies.
template <class T> struct Weights {
  T* data = nullptr;  // null if the weights are absent
  int64_t direction_stride = 0, tap_stride = 0, unit_stride = 0, gate_stride = 0, channel_stride = 1;

  explicit operator bool() const { return data; }
  Weights at(int direction, int tap) const {
    Weights w = *this;
    if (data) w.data += direction * direction_stride + tap * tap_stride;
    return w;
  }
  // row() and column() return the weights of a gate of a unit. Columns are four gates of each unit, then fifth gates.
  T* row(int64_t unit, int64_t gate) const { return data + unit * unit_stride + gate * gate_stride; }
  T* column(int64_t c, int64_t hidden) const { return c < 4 * hidden ? row(c / 4, c % 4) : row(c - 4 * hidden, 4); }
};

// The cells of a kernel call, and pointers to their operands. [n] -> [m] means n pointers, each to m values.
template <class T> struct Cells {
  int count, taps;
  const int* channels;    // [taps] number of values read at a pixel
  const T* const* tap;    // [taps][cells] -> [channels]
  const T* const* carry;  // [cells] -> [hidden] c of the previous cell of the chain
  const T* const* dh;     // [cells] -> [hidden] backward: gradient of h from outside the scan
  const int64_t* cell;    // [cells] index of the cell in the maps of its direction
  const int64_t* chain;   // [cells] index of the chain of cells along which c is carried
  int64_t to_next;        // index of the chain's next cell minus the cell's index, for prefetching
  // Only for LSTM2d, whose cells also read c of the cell above:
  const T* const* carry_up;  // [cells] -> [hidden] c of the cell above
  const T* const* dc_below;  // [cells] -> [hidden] backward: gradient of c from the cell below
  T* const* dc_up;           // [cells] -> [hidden] output of the backward: gradient of c of the cell above
};

// A tile of the scan is some cells times a block of hidden units. The kernel multiplies the cells' operands by the
// weights and computes the LSTM cells from the sums in registers, so pre-activations are never stored. Maps are
// channels-last. A pixel's gates are four gates of each unit, then the fifth gates, if any, of all units.
enum class Pass { kForward, kBackward };
template <class T, class Maps>
using ScanTile = void (*)(const Cells<T>&, int first, int count, int block, int hidden, const T* packed, const Maps&);

// The maps of one direction, [images][pixels][hidden] or [images][pixels][gates * hidden].
template <class T> struct ForwardMaps {
  const T* x;  // added to the pre-activations; may be null
  T *h, *c, *gates;
  int64_t h_stride;  // from one pixel of h, which holds the units of all directions, to the next
  // With five gates:
  CellParameters<T> cell = {};
  const T* border = nullptr;  // carry_up of the cells without an upper neighbour
};
template <class T> struct BackwardMaps {
  const T *c, *gates;
  T* dc;              // [chains][hidden] gradient of c, carried along the chain
  T* dx;              // gradient of the pre-activations
  int64_t dh_stride;  // from one pixel of dh to the next
  CellParameters<T> cell = {};
};

template <class T> struct ScanKernels {
  // A tile has block_units units and at most max_cells cells.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // Packs blocks b0 <= b < b1 of all taps' weights in the order in which tiles read them, transposed for the backward.
  void (*pack)(
      Pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1);
  ScanTile<T, ForwardMaps<T>> forward;
  ScanTile<T, BackwardMaps<T>> backward;
};

template <class T> struct ConvolutionKernels {
  // convolve() computes y [cells][outputs] for the block of outputs from o0 on. It multiplies the taps' values by
  // `packed`, [channels of all taps][block_outputs].
  int (*block_outputs)(int outputs, int o0);
  int max_cells;
  void (*convolve)(const Cells<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y);
  // copy() copies n values. transpose() turns [rows][columns] into [columns][rows]. y is null or laid out like `from`;
  // where y <= 0, both functions write zero.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

template <class T> struct WeightGradientKernels {
  // accumulate() sums the products of the taps' values and dy [cells][outputs] over the cells, and adds them to sum
  // [channels of all taps][columns]. Columns are the outputs (a scan's gates), padded. A call handles columns c0 <= c <
  // c1, a multiple of group_columns unless c1 is the end. scratch holds scratch_size values.
  int (*columns)(int outputs);
  int group_columns, scratch_size;
  // reduce() adds `sums` arrays [channels][columns], in order. It writes channel j of column i of the total to to[i][j
  // * to_stride].
  void (*reduce)(int sums, int64_t sum_stride, const T* sum, int64_t channel_stride, int columns, int channels,
      T* const* to, int64_t to_stride);
  void (*accumulate)(const Cells<T>&, int outputs, int c0, int c1, const T* dy, T* sum, T* scratch);
};

// The packed weights of run_columns are [blocks][channels of all taps][outputs of a block]. In a cell step they are
// [blocks][channels of all taps][4 gates][units of a block]. Blocks are padded with zeros.
struct ColumnBlocks { int outputs, units; };

// The values of all images at one pixel. column[i] points to image i's values.
template <class T> struct Column {
  T* data;
  int64_t stride;
  __attribute__((always_inline)) T* operator[](int64_t image) const { return data + image * stride; }
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
  template <class Step>
  using Kernel = void (*)(
      const ColumnOperand<T>*, int taps, const T* packed, int64_t outputs, int64_t images, const Step&);
  ColumnBlocks blocks;
  Kernel<LinearColumn<T>> linear;
  Kernel<CellColumn<T>> cell;
};

template <class T> struct Kernels {
  ScanKernels<T> scan[2];  // kernels for four gates, for five gates
  ConvolutionKernels<T> convolution;
  WeightGradientKernels<T> weight_gradient;
  ColumnKernels<T> columns, grid_columns;               // grid_columns rounds to the grid (grid.h); double only
  void (*round)(T* x, int64_t n, T integral, T limit);  // round_to_grid in tiles/columns.h; double only
  // For tests: y = sigmoid(x) or tanh(x).
  void (*activation)(bool is_tanh, int64_t n, const T* x, T* y);
};

// On x86-64 level 0 is baseline, 1 avx2 (with FMA), 2 avx512. On AArch64 level 0 is baseline, 1 neon. Elsewhere there
// is only baseline.
template <class T> const Kernels<T>& kernels(int level);
const char* instruction_set_name(int level);
int best_instruction_set();

}  // namespace pixelrnn::cpu
