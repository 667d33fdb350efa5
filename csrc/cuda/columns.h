// Runs the program of an image row (../columns/program.h) on a GPU. Each column needs one launch for each stage
// (column_stages.h). A CUDA graph may capture these launches.
#pragma once
#include "../columns/program.h"
#include "block_plan.h"
#include "driver.h"

namespace pixelrnn::cuda {

// A block of packed weights: four outputs of a linear step, or one unit with its four gates.
constexpr ColumnBlocks kColumnBlocks{4, 1};

// Returns the number of launches for one column. Throws std::runtime_error with one sentence if a GPU cannot run a
// step.
template <class T> int64_t count_launches(const ColumnProgram<T>&);

template <class T> CUresult run_columns(const ColumnProgram<T>&, double temperature, CUstream);

// Draws rows of all images in one launch (block_kernel.h). `memory` of the arguments must point to memory of the GPU.
template <class T> CUresult draw_rows(const BlockPlan<T>&, const BlockArgs<T>&, CUstream);

// Tells whether the current GPU can run the clusters of a plan. A GPU may have too few multiprocessors that can form a
// cluster.
template <class T> CUresult can_run(const BlockPlan<T>&, bool& can);

// Copies a cluster's weights to `to`, in the order of their use, for the arguments of draw_rows(). `memory` is the
// GPU's copy of the plan's memory.
template <class T> CUresult pack_stream(const BlockPlan<T>&, const unsigned char* memory, T* to, CUstream);

}  // namespace pixelrnn::cuda
