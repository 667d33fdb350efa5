// The step path of a scan: one matrix product and one kernel for each line.
#pragma once
#include <cuda.h>

#include <tuple>
#include <vector>

#include "../../cuda/step.h"
#include "scan.h"

namespace pixelrnn::cuda {

// Makes h [B, H, W, D, h], c and gates of x. It writes nothing outside of an image that is smaller than its map.
void step_forward_scan(const Scan&, const Tensor& x, Tensor& h, Tensor& c, Tensor& gates, CUstream);

// The gradients of c before the first cell of each chain, [D, cells, B, h], and above the first row, summed over it,
// [D, B, h] with five gates.
std::tuple<Tensor, Tensor> step_backward_scan(
    const Scan&, const Tensor& dh, const Tensor& c, const Tensor& gates, Tensor& dx, CUstream);

}  // namespace pixelrnn::cuda
