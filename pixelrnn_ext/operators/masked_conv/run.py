"""A masked convolution by the backend that was asked for: the operator ``masked_conv2d``, or the reference."""

import torch
from torch import Tensor

from ... import reference
from ...masks import Mask, removes_nothing
from .. import backends, library


def run_masked_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask, activation: str | None, backend: str
) -> Tensor:
    # Where nothing is masked PyTorch's own convolution is the shortest way, but for halves, which are computed in
    # float32 here.
    plain = removes_nothing(weight, mask.mask_type, mask.image_channels) and input.dtype in (
        torch.float32,
        torch.float64,
    )
    chosen = backends.runs(backend, backends.CONVOLUTION_BACKENDS, lambda: _why_not(input))
    if chosen and not plain:
        return torch.ops.pixelrnn_ext.masked_conv2d(input, weight, bias, *mask, activation == "relu")
    mask_type, colours, gates = mask
    return reference.masked_conv2d(
        input, weight, bias, mask_type, image_channels=colours, gates=gates, activation=activation
    )


def _why_not(input: Tensor) -> str | None:
    if input.device.type == "cpu":
        return library.why_no_native()
    if input.device.type != "cuda":
        return f"masked convolutions run on CPU and CUDA tensors, got tensors on {input.device}"
    try:
        from . import gpu  # here, since it imports triton
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return gpu.why_not(input)
