// The kernels of one instruction set, and what they read: what the drivers of this folder ask of tiles/.
#pragma once
#include <cstdint>

#include "../formula.h"

namespace pixelrnn::cpu {

// Where the weights of a scan lie: [directions][taps][hidden][gates][channels], by strides, so that a layer's
// parameters [gates][hidden][channels][taps] are read, and their gradients written, as they are.
template <class T> struct Weights {
  T* data = nullptr;  // null: there are none
  int64_t direction = 0, tap = 0, unit = 0, gate = 0, channel = 1;

  explicit operator bool() const { return data; }
  // Returns the weights of a direction's tap.
  Weights of(int d, int k) const {
    Weights w = *this;
    if (data) w.data += d * direction + k * tap;
    return w;
  }
  // The place of a unit's gate, whose channels follow.
  T* row(int64_t u, int64_t g) const { return data + u * unit + g * gate; }
  // The row of a column, in the order of a pixel's gates: units x four gates, then the fifth gate of all units where
  // there is one.
  T* column(int64_t c, int64_t hidden) const { return c < 4 * hidden ? row(c / 4, c % 4) : row(c - 4 * hidden, 4); }
};

// Cells of one line that a kernel takes at once, and where each of their operands lies.
template <class T> struct Rows {
  int cells, taps;
  const int* channels;    // [taps] values that a tap reads of a pixel
  const T* const* tap;    // [taps][cells] -> [channels]
  const T* const* carry;  // [cells] -> [hidden] c of the cell before
  const T* const* dh;     // [cells] -> [hidden] gradient of h from outside the scan, backward
  const int64_t* cell;    // [cells] index of the cell in the maps of its direction
  const int64_t* chain;   // [cells] index of the chain of cells that carry c on
  int64_t ahead;          // from a cell to the one that the chain reaches next, for prefetching
  // With two carries:
  const T* const* carry_up;  // [cells] -> [hidden] c of the cell above
  const T* const* dc_below;  // [cells] -> [hidden] gradient of c that comes from the cell below, backward
  T* const* dc_up;           // [cells] -> [hidden] gradient of carry_up, to be written, backward
};

// The scan (scan.h). A tile computes, for some cells of a line and one block of units, the product of everything that
// the cells read with the weights, and the LSTM cell as its epilogue, so that pre-activations are never written. Maps
// are channels-last. The four gates of a unit are adjacent; the fifth gates of all units follow, where there are five.
enum class Pass { kForward, kBackward };

// The maps of one direction, [images][pixels][hidden] or [images][pixels][gates * hidden]. A cell of four gates carries
// on the state of one neighbour; a cell of five gates carries on the states of both.
template <class T> struct ForwardMaps {
  const T* x;  // added to the pre-activations; may be null
  T *h, *c, *gates;
  int64_t h_stride;           // values from pixel to pixel of h, which has the units of all directions
  Cell<T> cell = {};          // of five gates, as is the border
  const T* border = nullptr;  // the carry_up of the cells without an upper neighbour
};
template <class T> struct BackwardMaps {
  const T *c, *gates;
  T* dc;              // [chains][hidden]: gradient of the running c
  T* dx;              // gradient of the pre-activations
  int64_t dh_stride;  // values from pixel to pixel of dh
  Cell<T> cell = {};  // of five gates
};

// For cells of four gates, or for cells of five.
template <class T> struct ScanKernels {
  // Units that a tile computes at once, and cells that it takes at the most.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // Packs the weights of blocks b0 <= b < b1 in the order in which a tile reads them, from the weights of each tap.
  // Forward: products with the taps' values. Backward: transposed, channels are units.
  void (*pack)(
      Pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1);
  void (*forward)(const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const ForwardMaps<T>&);
  void (*backward)(
      const Rows<T>&, int first, int count, int block, int hidden, const T* packed, const BackwardMaps<T>&);
};

// The convolution (convolution.h).
template <class T> struct ConvolutionKernels {
  // y [cells][outputs] = the taps' values times packed [all channels][block_outputs], for the block of outputs from o0
  // on and at most max_cells cells.
  int (*block_outputs)(int outputs, int o0);
  int max_cells;
  void (*convolve)(const Rows<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y);
  // to = from [n]; to [columns][rows] = from [rows][columns]. Zero where y, laid out as `from`, is given and not
  // positive.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

// The gradients of weights, of the scan and of the convolution.
template <class T> struct WeightGradientKernels {
  // Adds the products of what the cells of `rows` read with dy [cells][outputs] to sum [all channels of all
  // taps][columns]: the outputs (of a scan: units x gates), padded. Only of columns c0 <= c < c1, which are whole
  // groups of group_columns, or the end. scratch: scratch_size values.
  int (*columns)(int outputs);
  int group_columns, scratch_size;
  // The values of columns [columns], each [channels] `step` apart, from rows [channels][row] of `sums` sums, which are
  // `size` values apart and added in order.
  void (*total)(
      int sums, int64_t size, const T* sum, int64_t row, int columns, int channels, T* const* to, int64_t step);
  void (*add)(const Rows<T>&, int outputs, int c0, int c1, const T* dy, T* sum, T* scratch);
};

// The columns of a row (columns.h): a step computes some images of one column.
//
// Packed weights of the outputs start .. stop - 1 of a step are [blocks][channels of all taps][outputs of a block], of
// a cell [blocks][channels of all taps][4 gates][units of a block], zeros behind the last one. A tile computes a block,
// so that it reads its weights one after the other.
struct ColumnBlocks { int outputs, units; };

// Values of the first image; the next image's values are `stride` further on.
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
// Null where an instruction set has no kernel for T.
template <class T> struct ColumnKernels {
  ColumnBlocks blocks;
  void (*linear)(
      const ColumnOperand<T>*, int taps, const T* packed, int64_t outputs, int64_t images, const LinearColumn<T>&);
  void (*cell)(const ColumnOperand<T>*, int taps, const T* packed, int64_t units, int64_t images, const CellColumn<T>&);
};

template <class T> struct Kernels {
  ScanKernels<T> scan[2];  // of four gates, of five
  ConvolutionKernels<T> convolution;
  WeightGradientKernels<T> weight_gradient;
  ColumnKernels<T> columns, grid_columns;               // grid_columns: on the grid (grid.h), of double alone
  void (*round)(T* x, int64_t n, T integral, T limit);  // tiles/columns.h, of double alone
  // y = sigmoid(x) or tanh(x), for tests.
  void (*activation)(bool is_tanh, int64_t n, const T* x, T* y);
};

// An instruction set is a level, from the one that the compiler takes for granted up: on x86-64 "baseline", "avx2"
// (with FMA), "avx512"; on AArch64 "baseline", "neon"; elsewhere "baseline".
template <class T> const Kernels<T>& kernels(int level);
const char* instruction_set_name(int level);
int best_instruction_set();  // the highest level that this machine has

}  // namespace pixelrnn::cpu
