// Plans the kernel that draws whole images (block_kernel.h). A plan says where each buffer lies in shared memory, which
// warps compute which step in which round, and what the last warp copies in each round.
#pragma once
#include <vector>

#include "../columns/program.h"
#include "../columns/row_program.h"
#include "block_kernel.h"
#include "plan.h"

namespace pixelrnn::cuda {

template <class T> struct BlockPlan {
  BlockArgs<T> args{};                // complete but for the images' tensors, the temperature and the rows
  std::vector<unsigned char> memory;  // to copy to the GPU, for args.memory
  unsigned threads = 0, shared_memory = 0;
};

// Plans the column programs and the row steps of a row. Throws std::runtime_error with one sentence if the kernel
// cannot run a step, or if a block's shared memory is too small. It also throws if there are so many images that a
// launch for each stage (columns.h) is faster.
template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device&);

}  // namespace pixelrnn::cuda
