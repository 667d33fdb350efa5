"""Runs the masked convolution on a CPU by compiled kernels (csrc/cpu/convolution.cpp), which skip masked taps.

The kernels take float32 and float64 maps in NCHW or channels_last. 16-bit maps are converted to float32.
"""

import torch
from torch import Tensor

from .arguments import Convolution, Gradients


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Returns channels_last if a pixel's channels are adjacent in memory and pixels do not overlap, else contiguous."""
    adjacent = tensor.stride(1) == 1 and tensor.stride(3) >= tensor.shape[1]
    return torch.channels_last if adjacent else torch.contiguous_format


def new_map(like: Tensor, channels: int) -> Tensor:
    n, _, height, width = like.shape
    size = n, channels, height, width
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format(like))


def forward(c: Convolution) -> Tensor:
    """Returns the convolution in the dtype and the memory format of the input."""
    last = memory_format(c.input) == torch.channels_last
    bias = None if c.bias is None else _widened(c.bias)
    output = torch.ops.pixelrnn_ext.masked_conv(
        _map(c.input, last), _widened(c.weight), bias, c.mask_type == "A", c.image_channels, c.gates, c.relu, last
    )
    return _unmap(output, last).to(c.input.dtype)


def backward(g: Gradients) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Returns the gradients of the input, the weight and the bias, or None where not needed."""
    last, dtype = memory_format(g.input) == torch.channels_last, g.input.dtype
    output = _map(g.output, last) if g.relu and g.output is not None else None
    tensors = _map(g.grad_output, last), output, _map(g.input, last), _widened(g.weight)
    needs = g.need_input, g.need_weight, g.need_bias
    dinput, dweight, dbias = torch.ops.pixelrnn_ext.masked_conv_backward(
        *tensors, g.mask_type == "A", g.image_channels, g.gates, last, *needs
    )
    return (
        _unmap(dinput, last).to(dtype) if g.need_input else None,
        dweight.to(dtype) if g.need_weight else None,
        dbias.to(dtype) if g.need_bias else None,
    )


def _widened(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _map(tensor: Tensor, last: bool) -> Tensor:
    """Returns a map as the kernels take it: 16-bit values as float32, the channels first or last."""
    return _widened(tensor.permute(0, 2, 3, 1) if last else tensor)


def _unmap(tensor: Tensor, last: bool) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if last else tensor
