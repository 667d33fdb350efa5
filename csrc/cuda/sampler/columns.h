// Runs the program of an image row (../../columns/program.h) on a GPU, with a launch for each stage (column_stages.h)
// of each column. A CUDA graph may capture the launches.
#pragma once
#include "../../columns/program.h"
#include "../driver/driver.h"
#include "block_plan.h"

namespace pixelrnn::cuda {

template <class T> CUresult run_columns(const ColumnProgram<T>&, double temperature, CUstream);

// Draws rows of all images in one launch (block_kernel.h). The arguments' `memory` is on the GPU.
template <class T> CUresult draw_rows(const BlockPlan<T>&, const BlockArgs<T>&, CUstream);

// Tells why the current GPU cannot run a plan: the build has no code of the kernel, or the GPU has too few neighbouring
// multiprocessors for its clusters. The text is empty if it can, and then the plan's estimate follows the number of
// clusters that the driver can run at the same time.
template <class T> CUresult why_not_run(BlockPlan<T>&, std::string& why);

// Tells whether the build has code for the current GPU of the kernels that run_columns() launches.
CUresult has_column_kernels(bool& has);

// Copies a cluster's weights to `to`, the `stream` of draw_rows(). `memory` is the GPU's copy of the plan's memory.
template <class T> CUresult pack_stream(const BlockPlan<T>&, const unsigned char* memory, T* to, CUstream);

}  // namespace pixelrnn::cuda
