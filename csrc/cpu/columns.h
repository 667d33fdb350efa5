// A network of masked layers at the columns of one image row, for sampling and coding
// (pixelrnn_ext/incremental/steps.py says what the steps are). No framework here: plain pointers and a lent team.
//
// A buffer is [margin + width][images][channels]. A step reads and writes the channels start .. stop - 1 of the current
// column, of every image; images never meet, so that each share of the team takes its own through the whole row. The
// result depends on the data and the instruction set only, to the bit: each thread computes in the default
// floating-point environment (float_environment.h).
#pragma once
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "range_coder.h"
#include "team.h"

namespace pixelrnn::cpu {

template <class T> struct RowBuffer {
  T* data;
  int64_t channels;
};

template <class T> struct ColumnTap {
  RowBuffer<T> input;
  int64_t shift;     // columns, 0 or less
  int64_t channels;  // that it reads: the first ones
};

// The kinds of steps, of 64 bits, so that a program's integers convert exactly; and the names that programs use
// (column_program.h), in the same order.
enum class StepKind : int64_t { kLinear, kCell, kPointwise, kDraw, kEncode, kDecode };
constexpr const char* kStepNames[] = {"linear", "cell", "pointwise", "draw", "encode", "decode"};

template <class T> struct ColumnStep {
  StepKind kind;
  int64_t start, stop;  // channels, of a cell units, of a value logits
  // Linear and cell.
  std::vector<ColumnTap<T>> taps;
  const T* packed;  // weights, packed as kernels.h says
  // Linear: added to the products. Cell: [4][hidden], added to the gates. Pointwise: left operand. Of a value: logits.
  RowBuffer<T> base;
  RowBuffer<T> addend;  // cell: added to h; pointwise: right operand, or null
  RowBuffer<T> output;  // of a value: the scaled image
  bool relu;
  // Cell: c before, `shift` columns along, and c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw and decode: the value is the given one where it is known. Encode: all are, and `intervals` gets what of
  // [0, 2^24) is the value's, start << 32 | stop.
  RowBuffer<double> uniform;
  RowBuffer<uint8_t> known;
  RowBuffer<int64_t> values, intervals;
  const T* scaled;  // [levels]
  int64_t colour;
};

// How the columns of a row are run.
struct ColumnRun {
  int64_t margin, width, images;
  double temperature;  // of draws; 0 takes the most likely value
  bool on_grid;        // all that is written is rounded to the grid (grid.h); of double alone
  // For decode steps: all images belong to streams, one after the other. A share of the team takes whole streams.
  Stream* streams;
  int64_t stream_count;
  const uint8_t* bytes;
};

// Returns the blocks of a level (kernels.h).
template <class T> ColumnBlocks column_blocks(int instruction_set);

template <class T>
void run_columns(const std::vector<ColumnStep<T>>&, const ColumnRun&, const Team&, int instruction_set);

// Rounds n numbers of whole maps in place to the nearest multiple of 2^-bits, ties to even, and clamps them to [-limit,
// limit], in the default floating-point environment, too. NaN stays.
void round_to_grid(double* x, int64_t n, int bits, double limit, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
