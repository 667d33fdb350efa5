// Runs the steps of ../columns/steps.h for an image row, column by column. Images are independent, so each thread runs
// its own images through the whole row. With the same instruction set, the same data give the same bits, because all
// threads use the default floating-point environment.
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
  double temperature;  // 0 draws the most likely value
  bool on_grid;        // rounds all results to the grid (grid.h); double only
  // The streams to decode, or null. A stream encodes consecutive images, and one thread decodes all images of a stream.
  Stream* streams;
  int64_t stream_count;
  const uint8_t* bytes;
};

template <class T> ColumnBlocks column_blocks(int instruction_set);

template <class T>
void run_columns(const std::vector<ColumnStep<T>>&, const ColumnRun&, const Team&, int instruction_set);

// Rounds n numbers in place to multiples of 2^-bits, ties to even, and clamps them to [-limit, limit].
void round_to_grid(double* x, int64_t n, int bits, double limit, const Team&, int instruction_set);

}  // namespace pixelrnn::cpu
