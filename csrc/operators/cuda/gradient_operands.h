// What the matrix products for the gradients of weights and initial states take, made on the current stream. Registered
// in module.cpp.
#pragma once
#include <torch/csrc/stable/tensor.h>

#include <optional>

namespace pixelrnn::cuda {

// h [D, B, H, W, h] -> [D, B, H, W, count, h]: the hidden state that tap first + k of each cell reads, h0 outside of
// the map.
torch::stable::Tensor neighbour_states(torch::stable::Tensor h, std::optional<torch::stable::Tensor> h0, int64_t taps,
    int64_t first, int64_t count, bool diagonal, bool reverse);

// dx [D, B, H, W, h, 4] -> [D, B, taps, h, 4]: its sums over the cells whose tap lies outside of the map, in float32 at
// least.
torch::stable::Tensor border_sums(torch::stable::Tensor dx, int64_t taps, bool diagonal, bool reverse);

}  // namespace pixelrnn::cuda
