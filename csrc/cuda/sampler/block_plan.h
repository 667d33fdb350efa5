// Plans the kernels that draw whole images (block_kernel.h): the places of buffers in shared memory, and the work of
// each warp in each round.
#pragma once
#include <algorithm>
#include <vector>

#include "../../columns/program.h"
#include "../../columns/row_program.h"
#include "../scan/plan.h"
#include "block_kernel.h"

namespace pixelrnn::cuda {

// Four outputs of a linear step, or one unit of a cell step.
constexpr ColumnBlocks kColumnBlocks{4, 1};

template <class T> struct BlockPlan {
  BlockArgs<T> args{};                // the caller sets pointers, height, temperature and rows
  std::vector<unsigned char> memory;  // the caller copies it to the GPU, for args.memory
  unsigned threads = 0;
  int64_t shared_memory = 0;
  // Estimates in seconds for one pixel of all images. `wave` is for the images that the GPU draws at the same time, and
  // `cache` is for the weights that all blocks load. `stages` is for a launch for each stage (columns.h).
  double seconds = 0, wave = 0, cache = 0, stages = 0;
  // `teams` is the number of blocks or clusters that run at the same time.
  void set_teams(int64_t teams) { seconds = std::max(double((args.images + teams - 1) / teams) * wave, cache); }
  // Throws std::runtime_error if a launch for each stage is faster.
  void expect_fastest() const;
  // In a cluster: the copies that fill args.stream, their offset in `memory`, and the stream's length in values. The
  // stream is zero between the copies.
  std::vector<WeightCopy<T>> stream;
  int64_t stream_list = 0, stream_values = 0;
};

// Plans the kernel for one block of threads (`blocks` = 1) or a cluster for each image. If `blocks` is 0, it takes one
// block if the model fits, else a cluster. Throws std::runtime_error if the kernel cannot run a step or the shared
// memory is too small, and with `blocks` = 0 also if a launch for each stage is faster.
template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device&, int blocks);

}  // namespace pixelrnn::cuda
