// Runs the steps of ../columns/steps.h for the pixels of an image row, column by column. Images are independent: a
// thread runs its images through the whole row. The same data and instruction set give the same bits: threads use the
// default floating-point environment.
#pragma once
#include <cstdint>
#include <vector>

#include "../columns/steps.h"
#include "kernels.h"
#include "range_coder.h"
#include "team.h"

namespace pixelrnn::cpu {

struct ColumnRun {
  int64_t margin, width, images;
  double temperature;  // of draw steps; 0 takes the most likely value
  bool on_grid;        // rounds all results to the grid (grid.h); double only
  // The streams that decode steps read, or null. A stream has consecutive images, which one thread decodes.
  Stream* streams;
  int64_t stream_count;
  const uint8_t* bytes;
};

template <class T> ColumnBlocks column_blocks(int instruction_set);

template <class T>
void run_columns(const std::vector<ColumnStep<T>>&, const ColumnRun&, const Team&, int instruction_set);

// Rounds n numbers in place to the nearest multiples of 2^-bits, ties to even, and clamps them to [-limit, limit].
void round_to_grid(double* x, int64_t n, int bits, double limit, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
