#pragma once
#include <cstdint>
#include <string>

#include "../columns/steps.h"
#include "../formula.h"
#include "formats.h"

// The kernels for AMX need GCC 11 or Clang 12.
#if defined(__clang__)
#define PIXELRNN_COMPILES_AMX (__clang_major__ >= 12)
#else
#define PIXELRNN_COMPILES_AMX (__GNUC__ >= 11)
#endif
#if defined(__x86_64__) && defined(__linux__) && PIXELRNN_COMPILES_AMX
#define PIXELRNN_HAS_AMX
#endif

namespace pixelrnn::cpu {

// A strided view [directions][taps][hidden][gates][channels] of weights. A tap is one of the neighbours that a cell
// reads, and `channels` is the number of values read there. Because of the strides, a layer's parameters
// [gates][hidden][channels][taps] and their gradients need no copies.
template <class T> struct Weights {
  T* data = nullptr;
  int64_t direction_stride = 0, tap_stride = 0, unit_stride = 0, gate_stride = 0, channel_stride = 1;

  explicit operator bool() const { return data; }
  Weights at(int direction, int tap) const {
    Weights w = *this;
    if (data) w.data += direction * direction_stride + tap * tap_stride;
    return w;
  }
  // Both functions return a pointer to the weights of one gate of one hidden unit. row() takes the unit and the gate.
  // column() takes an index into the gates of all units: first the four gates of each unit, then the fifth gates.
  T* row(int64_t unit, int64_t gate) const { return data + unit * unit_stride + gate * gate_stride; }
  T* column(int64_t c, int64_t hidden) const { return c < 4 * hidden ? row(c / 4, c % 4) : row(c - 4 * hidden, 4); }
};

// The cells (pixels) that one kernel call computes, and pointers to their operands. A tap is one of the neighbours that
// a cell reads. A chain is a sequence of cells along which c is carried: an image row in a Diagonal LSTM, a column in a
// Row LSTM.
template <class T> struct Cells {
  int count, taps;
  const int* channels;         // [taps] number of values that a cell reads at each tap
  const T* const* tap;         // [taps][cells] pointers to the values that a cell reads at a tap
  const Sum<T>* const* carry;  // [cells] pointers to c [hidden] of the previous cell of the chain
  const T* const* dh;    // [cells] pointers to the gradient of h [hidden] from outside the scan; only in the backward
  const int64_t* cell;   // [cells] index of the cell's pixel in the maps of the scan direction
  const int64_t* chain;  // [cells] index of the chain to which the cell belongs
  // A chain is a sequence of cells along which c is carried. to_next is the index of the chain's next cell minus the
  // index of this cell. While a kernel computes a cell, it prefetches the operands of the chain's next cell.
  int64_t to_next;
  bool has_bias;  // whether the last tap is a constant 1, whose weights are a bias
  // The remaining members are only for LSTM2d, whose cells also read c of the cell above.
  const Sum<T>* const* carry_up;  // [cells] pointers to c [hidden] of the cell above
  const Sum<T>* const* dc_below;  // [cells] gradient of c [hidden] from the cell below; only in the backward
  Sum<T>* const* dc_up;           // [cells] gradient of c [hidden] of the cell above, an output of the backward
};

// A tile of the scan is some cells times a block of hidden units, which one kernel call computes. The kernel multiplies
// the operands of the cells by the weights. It computes the LSTM cells while the sums are in registers, so
// pre-activations are never stored. Maps are channels-last. A pixel's gates are stored as four gates of each unit, then
// the fifth gates, if any, of all units.
enum class Pass { kForward, kBackward };
template <class T, class Maps>
using ScanTile = void (*)(
    const Cells<T>&, int first, int count, int block, int hidden, const T* packed, const Maps&, T* scratch);

// The feature maps of one scan direction, as [images][pixels][values]. A pixel has `hidden` values in h and c. It has
// gates * hidden values in x, gates and dx.
template <class T> struct ForwardMaps {
  const T* x;  // added to the pre-activations; null if there is nothing to add
  T* h;
  Sum<T>* c;
  Gate<T>* gates;
  // The number of values from one pixel to the next in h, where a pixel has the hidden units of all directions.
  int64_t h_stride;
  // The members below are used only by cells of five gates.
  CellParameters<Sum<T>> cell = {};
  const Sum<T>* border = nullptr;  // the c outside the image; carry_up points to it in cells without an upper neighbour
};
template <class T> struct BackwardMaps {
  const Sum<T>* c;
  const Gate<T>* gates;
  Sum<T>* dc;         // [chains][hidden] gradient of c, which is carried along each chain of cells
  T* dx;              // output: the gradient of the pre-activations
  int64_t dh_stride;  // number of values from one pixel to the next in dh, the gradient of h
  CellParameters<Sum<T>> cell = {};
};

template <class T> struct ScanKernels {
  // The size of a tile: block_units() returns its number of hidden units, max_cells() the largest number of its cells.
  int (*block_units)(Pass, int hidden);
  int (*max_cells)(Pass, int hidden);
  // The approximate number of cells of a line that a thread computes at once, if the images are small.
  int cells_at_once;
  // Packs blocks b0 <= b < b1 of hidden units, from the weights of all taps, in the order in which the tiles read them.
  // For the backward pass the weights are transposed.
  void (*pack)(
      Pass, int hidden, int taps, const int* channels, const Weights<const T>* weight, T* packed, int b0, int b1);
  ScanTile<T, ForwardMaps<T>> forward;
  ScanTile<T, BackwardMaps<T>> backward;
  // The number of values of a tile's argument `scratch`, 64-byte aligned memory that no other thread uses.
  int64_t (*scratch_size)(int taps, const int* channels);
  // The packed weights of a block have a multiple of depth_step channels. The last of them may be padding.
  int depth_step;
};

template <class T> struct ConvolutionKernels {
  // convolve() computes call_outputs() outputs of y [cells][outputs], from output o0 on. These outputs are one or
  // several blocks. block_outputs() returns the size of the block that begins at output o0. The values that a cell
  // reads at all taps (kernel positions) are multiplied by `packed`, the weights [block][channels of all taps][outputs
  // of the block].
  int (*block_outputs)(int outputs, int o0);
  int (*call_outputs)(int outputs, int o0);
  int max_cells;
  void (*convolve)(
      const Cells<T>&, int first, int count, int outputs, int o0, const T* packed, bool relu, T* y, T* scratch);
  // These members have the meaning of those of ScanKernels.
  int64_t (*scratch_size)(int taps, const int* channels);
  int depth_step;
  // Packs the weights of one tap of a scan for the input gradient, which multiplies `columns` values of a cell by them.
  // packed is [columns][block_outputs], in the order of packed_index(). The block begins at output o0.
  void (*pack_transposed)(
      const Weights<const T>& weight, int hidden, int columns, int o0, int outputs, int block_outputs, T* packed);
  // copy() copies n values from `from` to `to`. transpose() writes the transpose of the matrix `from`, [rows][columns],
  // to `to`. Both functions write zero where y <= 0, if y is not null. y has the layout of `from`.
  void (*copy)(int64_t n, const T* from, const T* y, T* to);
  void (*transpose)(int rows, int columns, const T* from, const T* y, int64_t from_stride, T* to, int64_t to_stride);
};

template <class T> struct WeightGradientKernels {
  // accumulate() adds the weight gradient of some cells to `sum`, which is [channels of all taps][columns]. It
  // multiplies the values that a cell reads at all taps by the cell's dy, and sums over the cells. dy is
  // [cells][outputs]. The columns are the outputs (in a scan, the gates), padded. A call handles columns c0 <= c < c1.
  // The number c1 - c0 must be a multiple of group_columns, unless c1 is the number of all columns. scratch must have
  // room for scratch_size() values.
  int (*columns)(int outputs);
  int group_columns;
  int64_t (*scratch_size)(int taps, const int* channels);
  // reduce() adds up several arrays [channels][columns], always in the same order. `sums` is the number of arrays. It
  // writes channel j of column i of the total to to[i][j * to_stride].
  void (*reduce)(int sums, int64_t sum_stride, const Sum<T>* sum, int64_t channel_stride, int columns, int channels,
      T* const* to, int64_t to_stride);
  void (*accumulate)(const Cells<T>&, int outputs, int c0, int c1, const T* dy, Sum<T>* sum, T* scratch);
};

// The values of all images at one pixel position of an image row. operator[] returns a pointer to the values of one
// image.
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
  // The number of hidden units. For each image, `base` is an array [4][hidden], which is added to the pre-activations
  // of the four gates.
  int64_t hidden;
};
// The kernels of the sampler's layers. All pointers are null if there are no such kernels for the type T.
template <class T> struct ColumnKernels {
  template <class Step>
  using Kernel = void (*)(
      const ColumnOperand<T>*, int taps, const T* packed, int64_t outputs, int64_t images, const Step&);
  ColumnBlocks blocks;
  Kernel<LinearColumn<T>> linear;
  Kernel<CellColumn<T>> cell;
};

// A row of `logits`, [rows][levels], has the logits of one softmax distribution. It has kMinLevels levels or more.
constexpr int64_t kMinLevels = 16;
template <class T> struct LikelihoodKernels {
  // normalise() writes two numbers for each row, [rows][2]: the largest logit m, and the sum of exp(logit - m).
  void (*normalise)(int64_t rows, int64_t levels, const T* logits, Sum<T>* normaliser);
  // gradient() takes one value for each row, and dlog_prob, the gradient with respect to the values' log-probabilities.
  // It writes the gradient with respect to the logits.
  void (*gradient)(int64_t rows, int64_t levels, const T* logits, const int64_t* values, const Sum<T>* normaliser,
      const Sum<T>* dlog_prob, T* dlogits);
};

template <class T> struct Kernels {
  ScanKernels<T> scan[2];  // scan[1] is for cells that carry c up, scan[0] for the others
  ConvolutionKernels<T> convolution;
  WeightGradientKernels<T> weight_gradient;
  LikelihoodKernels<T> likelihood;
  // grid_columns rounds all results to the codec's grid (grid.h). Its pointers are null unless T is double.
  ColumnKernels<T> columns, grid_columns;
  // Writes the sum of `count` arrays [pixels][n] to `to`. In the arrays, the next pixel begins `stride` values later. A
  // 16-bit format is rounded once.
  void (*sum)(int64_t pixels, int64_t n, int64_t stride, int count, const T* const* terms, T* to);
  // The function round_to_grid of tiles/columns.h. The pointer is null unless T is double.
  void (*round)(T* x, int64_t n, T integral, T limit);
  // Computes y = tanh(x) or y = sigmoid(x) for n values. Only tests call this function.
  void (*activation)(bool is_tanh, int64_t n, const Sum<T>* x, Sum<T>* y);
};

// Returns the kernels of an instruction set, which is given by its level: a row of the table in instruction_set.cpp. If
// the set has no kernels for T, the function returns those of a lower level. The baseline, level 0, has kernels for all
// formats. Its kernels for Bf16 are slow, and only tests call them.
template <class T> const Kernels<T>& kernels(int level);
template <class T> bool has_own_kernels(int level);
const char* instruction_set_name(int level);

// The highest level that this processor has.
int best_instruction_set();
// The level that computes fastest on this processor. It depends on the processor and on Linux, and on no measured time,
// so that a program computes the same bits each time.
int default_instruction_set();
// Returns the level that computes bfloat16 where a caller has chosen `level`. It is another level only if `level` is
// AMX's and Linux does not let this process use AMX. The first call with AMX's level asks Linux for the permission,
// which holds for the whole process. After that, a thread needs a larger alternate signal stack (sigaltstack).
int bfloat16_level(int level);
inline bool multiplies_bfloat16(int level) { return level > 0 && has_own_kernels<Bf16>(bfloat16_level(level)); }
// Says why this process does not use AMX. Empty if it does, or if it has not asked for the permission yet.
std::string why_no_amx();

}  // namespace pixelrnn::cpu
