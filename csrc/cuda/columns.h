// Runs the program of an image row (../columns/program.h) on a GPU: for each column one launch for each stage
// (column_stages.h). A CUDA graph may capture the launches.
#pragma once
#include "../columns/program.h"
#include "block_plan.h"
#include "driver.h"

namespace pixelrnn::cuda {

// The packed weights that the kernel reads: blocks of four outputs, or of one unit with four gates.
constexpr ColumnBlocks kColumnBlocks{4, 1};

// Returns the number of launches for a column. Throws std::runtime_error with one sentence if a GPU cannot run a step.
template <class T> int64_t count_launches(const ColumnProgram<T>&);

template <class T> CUresult run_columns(const ColumnProgram<T>&, double temperature, CUstream);

// Draws rows of all images in one launch (block_kernel.h). The arguments' memory is on the GPU.
template <class T> CUresult draw_rows(const BlockPlan<T>&, const BlockArgs<T>&, CUstream);

}  // namespace pixelrnn::cuda
