// The step path of a scan: one matrix product and one kernel for each line.
#pragma once
#include <cuda.h>

#include <tuple>
#include <vector>

#include "../../cuda/step.h"
#include "scan.h"

namespace pixelrnn::cuda {

// x [D, B, H, W, G h] and weight [D, taps, h, G, h] to h, c and gates. h is [D, B, H, W, h], or [B, H, W, D, h] with
// cell.joined. What is outside of an image that is smaller than its map is not written.
void step_forward_scan(const Scan&, const StepCell& cell, const Tensor& x, const Tensor& weight, const Optional& h0,
    const Optional& c0, Tensor& h, Tensor& c, Tensor& gates, CUstream);

// The gradients of c before the first cell of each chain, [D, cells, B, h], and above the first row, summed over it,
// [D, B, h] with five gates.
std::tuple<Tensor, Tensor> step_backward_scan(const Scan&, const StepCell& cell, const Tensor& dh, const Tensor& weight,
    const Optional& c0, const Tensor& c, const Tensor& gates, Tensor& dx, CUstream);

}  // namespace pixelrnn::cuda
