// Plans the kernels that draw whole images (block_kernel.h). A plan says where each buffer lies in shared memory, which
// warps compute which step in which round, and what the last warp copies in each round.
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
  // In a cluster: the copies that fill args.stream, where they lie in `memory`, and the number of values of the stream.
  // The copies leave gaps, which are zeros.
  std::vector<WeightCopy<T>> stream;
  int64_t stream_list = 0, stream_values = 0;
};

// Plans the column programs and the row steps of a row. Throws std::runtime_error with one sentence if the kernel
// cannot run a step, or if the shared memory is too small. It also throws if there are so many images that a launch for
// each stage (columns.h) is faster. `blocks` is the number of blocks of a team. If it is 0, the team is one block if
// the model fits, else a cluster.
template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device&, int blocks);

}  // namespace pixelrnn::cuda
