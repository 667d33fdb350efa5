// Plans the kernel that draws whole images (block_kernel.h): where each buffer lies in shared memory, which warps
// compute a step in which round, and what the last warp moves meanwhile.
#pragma once
#include <vector>

#include "../columns/program.h"
#include "../columns/row_program.h"
#include "block_kernel.h"
#include "plan.h"

namespace pixelrnn::cuda {

template <class T> struct BlockPlan {
  BlockArgs<T> args{};                // without the tensors of the images, the temperature and the rows to draw
  std::vector<unsigned char> memory;  // for args.memory
  unsigned threads = 0, shared_memory = 0;
};

// Plans the programs of a row. Throws std::runtime_error with one sentence if the kernel cannot run a step, if a
// block's shared memory is too small, or if there are so many images that a launch for each stage (columns.h) is
// faster.
template <class T> BlockPlan<T> plan_block(const ColumnProgram<T>& main, const ColumnProgram<T>& mirrored,
    const RowProgram<T>& before_row, const RowProgram<T>& after_row, const Device&);

}  // namespace pixelrnn::cuda
