// The recurrence of a map on a GPU: allocates, chooses the path, runs it on the current stream. Registered in
// module.cpp.
#pragma once
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <string>
#include <tuple>

namespace pixelrnn::cuda {

// path: see Path in ../../cuda/path.h. With groups given, only the pass that is called has to run. tf32: float32
// products may be computed in it.
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> recurrence(torch::stable::Tensor x,
    torch::stable::Tensor weight, std::optional<torch::stable::Tensor> h0, std::optional<torch::stable::Tensor> c0,
    bool diagonal, bool reverse, std::string path, bool tf32);

// dc_first [D, B, cells, h]: the gradients of the cell state before each chain of cells; c0's is their sum over images
// and cells.
std::tuple<torch::stable::Tensor, torch::stable::Tensor> recurrence_backward(torch::stable::Tensor dh,
    torch::stable::Tensor weight, std::optional<torch::stable::Tensor> c0, torch::stable::Tensor c,
    torch::stable::Tensor gates, bool diagonal, bool reverse, std::string path, bool tf32);

// What the resident path would do, forward and backward, on a GPU of that compute capability (90 for 9.0; 0: the
// current GPU), for tensors [D, B, H, W, h] and that path. Where it cannot run the text starts with "step path: " and
// goes on with the reason. gates: 5 of LSTM2d's cells that have five.
std::tuple<std::string, std::string> describe_plan(int64_t directions, int64_t images, int64_t height, int64_t width,
    int64_t hidden, int64_t taps, bool diagonal, std::string format, int64_t capability, std::string path,
    int64_t gates);

}  // namespace pixelrnn::cuda
