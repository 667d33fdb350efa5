// Makes the operands of the matrix products for the gradients of weights and initial states, on the current stream.
#pragma once
#include <optional>
#include <vector>

#include "../checks.h"

namespace pixelrnn::cuda {

// h [B, H, W, D, h] -> [D, B, H, W, count, h]: the hidden state that tap first + k of each cell reads; outside of the
// image h0, or zero. sizes, corners and diagonal: as those of a scan.
Tensor neighbour_states(Tensor h, Optional h0, Optional sizes, std::vector<int64_t> corners, bool diagonal,
    int64_t taps, int64_t first, int64_t count);

// dx [D, B, H, W, G h] -> [D, B, taps, G h]: its sums over the cells of each image whose tap lies outside of the image,
// in float32 at least.
Tensor border_sums(Tensor dx, Optional sizes, std::vector<int64_t> corners, bool diagonal, int64_t taps);

}  // namespace pixelrnn::cuda
