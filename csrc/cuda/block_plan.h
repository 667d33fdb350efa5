// Plans the kernels that draw whole images (block_kernel.h): where buffers lie in shared memory, and what each warp
// computes or copies in each round.
#pragma once
#include <vector>

#include "../columns/program.h"
#include "../columns/row_program.h"
#include "block_kernel.h"
#include "plan.h"

namespace pixelrnn::cuda {

template <class T> struct BlockPlan {
  BlockArgs<T> args{};  // without `memory`, `stream`, the images' tensors, the height, the temperature and the rows
  std::vector<unsigned char> memory;  // to copy to the GPU, for args.memory
  unsigned threads = 0;
  int64_t shared_memory = 0;
  double seconds = 0;  // for one pixel of all images, by estimate
  // In a cluster: the copies that fill args.stream, their offset in `memory`, and the stream's length in values. The
  // stream is zero between the copies.
  std::vector<WeightCopy<T>> stream;
  int64_t stream_list = 0, stream_values = 0;
};

// Plans the column programs and the row steps of a row for teams of `blocks` blocks. If `blocks` is 0, the team is one
// block if the model fits, else a cluster. Throws std::runtime_error with one sentence if the kernel cannot run a step,
// if the shared memory is too small, or, if `blocks` is 0, if a launch for each stage (columns.h) is faster.
template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device&, int blocks);

}  // namespace pixelrnn::cuda
