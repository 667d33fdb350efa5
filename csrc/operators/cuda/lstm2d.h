// The recurrence of LSTM2d's directions on a GPU, without the product of its input. Registered in module.cpp.
#pragma once
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace pixelrnn::cuda {

// x [D, B, H, W, G h] in the order of the gates, everything else as in ../lstm2d.cpp; sizes are on the device of x, and
// are not read by the host. path, tf32: as in recurrence.h.
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> recurrence2d(torch::stable::Tensor x,
    torch::stable::Tensor weight, std::optional<torch::stable::Tensor> h0, std::optional<torch::stable::Tensor> c0,
    std::optional<torch::stable::Tensor> peepholes, std::optional<torch::stable::Tensor> sizes,
    std::vector<int64_t> corners, std::string cell, std::string path, bool tf32);

// dx as x, zero outside of the images; the gradients of c before each row, dc_left [D, B, H, h], and of five gates
// above the first row, dc_above [D, B, h].
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> recurrence2d_backward(
    torch::stable::Tensor dh, torch::stable::Tensor weight, std::optional<torch::stable::Tensor> c0,
    std::optional<torch::stable::Tensor> peepholes, std::optional<torch::stable::Tensor> sizes, torch::stable::Tensor c,
    torch::stable::Tensor gates, std::vector<int64_t> corners, std::string cell, std::string path, bool tf32);

}  // namespace pixelrnn::cuda
