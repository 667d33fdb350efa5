// Runs the program of an image row (../columns/program.h) on a GPU, with a launch for each stage (column_stages.h) of
// each column. A CUDA graph may capture the launches.
#pragma once
#include "../columns/program.h"
#include "block_plan.h"
#include "driver.h"

namespace pixelrnn::cuda {

template <class T> CUresult run_columns(const ColumnProgram<T>&, double temperature, CUstream);

// Draws rows of all images in one launch (block_kernel.h). The arguments' `memory` is on the GPU.
template <class T> CUresult draw_rows(const BlockPlan<T>&, const BlockArgs<T>&, CUstream);

// Tells whether the current GPU has enough neighbouring multiprocessors for the clusters of a plan.
template <class T> CUresult can_run(const BlockPlan<T>&, bool& can);

// Copies a cluster's weights to `to`, the `stream` of draw_rows(). `memory` is the GPU's copy of the plan's memory.
template <class T> CUresult pack_stream(const BlockPlan<T>&, const unsigned char* memory, T* to, CUstream);

}  // namespace pixelrnn::cuda
