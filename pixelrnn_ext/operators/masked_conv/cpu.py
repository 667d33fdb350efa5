"""Runs the masked convolution on a CPU by compiled kernels (csrc/cpu/convolution.cpp), which skip masked weights."""

import torch
from torch import Tensor

from ..backends import kernel_dtype
from .arguments import Convolution, Gradients


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Returns channels_last if each pixel's channels are adjacent and pixels do not overlap, else contiguous_format."""
    adjacent = tensor.stride(1) == 1 and tensor.stride(3) >= tensor.shape[1]
    return torch.channels_last if adjacent else torch.contiguous_format


def new_map(like: Tensor, channels: int) -> Tensor:
    n, _, height, width = like.shape
    size = n, channels, height, width
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=memory_format(like))


def forward(c: Convolution) -> Tensor:
    nhwc = memory_format(c.input) == torch.channels_last
    dtype = kernel_dtype("cpu", c.input.dtype)
    tensors = _to_kernel(c.input, nhwc, dtype), c.weight.to(dtype), None if c.bias is None else c.bias.to(dtype)
    output = torch.ops.pixelrnn_ext.masked_conv(*tensors, c.mask_type == "A", c.image_channels, c.gates, c.relu, nhwc)
    return _from_kernel(output, nhwc).to(c.input.dtype)


def backward(g: Gradients) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    nhwc, dtype = memory_format(g.input) == torch.channels_last, g.input.dtype
    wide = kernel_dtype("cpu", dtype)
    output = _to_kernel(g.output, nhwc, wide) if g.relu and g.output is not None else None
    tensors = _to_kernel(g.grad_output, nhwc, wide), output, _to_kernel(g.input, nhwc, wide), g.weight.to(wide)
    needs = g.need_input, g.need_weight, g.need_bias
    dinput, dweight, dbias = torch.ops.pixelrnn_ext.masked_conv_backward(
        *tensors, g.mask_type == "A", g.image_channels, g.gates, nhwc, *needs
    )
    return (
        _from_kernel(dinput, nhwc).to(dtype) if g.need_input else None,
        dweight.to(dtype) if g.need_weight else None,
        dbias.to(dtype) if g.need_bias else None,
    )


def _to_kernel(map: Tensor, nhwc: bool, dtype: torch.dtype) -> Tensor:
    return (map.permute(0, 2, 3, 1) if nhwc else map).to(dtype)


def _from_kernel(map: Tensor, nhwc: bool) -> Tensor:
    return map.permute(0, 3, 1, 2) if nhwc else map
