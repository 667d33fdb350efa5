// A network of masked layers at the columns of one image row, for sampling (pixelrnn_ext/incremental/steps.py says what
// the steps are). No framework here: plain pointers and a lent team.
//
// A buffer is [margin + width][images][channels]. A step reads and writes the channels start .. stop - 1 of the current
// column, of every image; images never meet, so that each share of the team takes its own through the whole row. The
// result depends on the data and the instruction set only, to the bit.
#pragma once
#include <cstdint>
#include <vector>

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

enum class StepKind { kLinear, kCell, kPointwise, kDraw };

template <class T> struct ColumnStep {
  StepKind kind;
  int64_t start, stop;  // channels, of a cell units, of a draw logits
  // Linear and cell.
  std::vector<ColumnTap<T>> taps;
  const T* packed;  // weights, see column_kernels.h
  // Linear: added to the products. Cell: [4][hidden], added to the gates. Pointwise: left operand. Draw: logits.
  RowBuffer<T> base;
  RowBuffer<T> addend;  // cell: added to h; pointwise: right operand, or null
  RowBuffer<T> output;  // draw: the scaled image
  bool relu;
  // Cell: c before, `shift` columns along, and c and h.
  RowBuffer<T> carried, c, h;
  int64_t shift;
  // Draw: the value is the given one where it is known.
  RowBuffer<double> uniform;
  RowBuffer<bool> known;
  RowBuffer<int64_t> values;
  const T* scaled;  // [levels]
  int64_t colour;
};

// 0 takes the most likely value.
template <class T> void run_columns(const std::vector<ColumnStep<T>>&, int64_t margin, int64_t width, int64_t images,
    double temperature, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
