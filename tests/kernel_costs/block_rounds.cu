// In a round of csrc/cuda/sampler/block_kernel.cuh, each warp runs at most one step of the network. Each kernel of this
// file runs rounds with only one kind of step, so that the model can compute the cycles of such a round.
#include "../../csrc/cuda/sampler/block_kernel.cuh"

#define ROUNDS(kind, is_cell)                                                                            \
  extern "C" __global__ void __launch_bounds__(160, 1)                                                   \
      rounds_of_##kind(const __grid_constant__ pixelrnn::cuda::BlockArgs<float> a) {                     \
    using namespace pixelrnn::cuda;                                                                      \
    ImageSampler<float, false> sampler(a);                                                               \
    sampler.for_each_round(                                                                              \
        a.main, [&](const BlockRecord& r, int column) { sampler.product<is_cell>(a.main, r, column); }); \
  }
ROUNDS(cells, true)
ROUNDS(linear_steps, false)
