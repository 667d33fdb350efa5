// Runs the steps of ../columns/steps.h for an image row on a CPU, column by column. Images do not depend on each other,
// so a thread runs its images through the whole row. Every thread uses the default floating-point environment. So the
// same data give the same bits with the same instruction set.
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
  double temperature;  // for draw steps; 0 takes the most likely value
  bool on_grid;        // the kernels round all results to the grid (grid.h); double only
  // The streams that decode steps read, or null. A stream encodes consecutive images, and one thread decodes them all.
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
