"""The masked convolution on a CPU: the compiled kernels (csrc/cpu/convolution.cpp), which touch live taps only.

They take maps of float32 and float64 in NCHW or channels_last. Halves are computed in float32.
"""

import torch
from torch import Tensor

from ...masks import Mask


def memory_format(tensor: Tensor) -> torch.memory_format:
    """channels_last where a pixel's channels are adjacent, as in a map of any strides."""
    adjacent = tensor.stride(1) == 1 and tensor.stride(3) >= tensor.shape[1]
    return torch.channels_last if adjacent else torch.contiguous_format


def forward(input: Tensor, weight: Tensor, bias: Tensor | None, mask: Mask, relu: bool) -> Tensor:
    """The convolution, of the dtype of ``input`` and in its memory format."""
    last = memory_format(input) == torch.channels_last
    bias = None if bias is None else _computed(bias)
    output = torch.ops.pixelrnn_ext.masked_conv(_map(input, last), _computed(weight), bias, *_options(mask), relu, last)
    return _unmap(output, last).to(input.dtype)


def backward(
    grad_output: Tensor,
    output: Tensor | None,
    input: Tensor,
    weight: Tensor,
    mask: Mask,
    relu: bool,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the input, the weight and the bias, None where not needed. ``output`` is for relu."""
    last = memory_format(input) == torch.channels_last
    grad, y, x = (None if t is None else _map(t, last) for t in (grad_output, output if relu else None, input))
    needs = need_input, need_weight, need_bias
    dinput, dweight, dbias = torch.ops.pixelrnn_ext.masked_conv_backward(
        grad, y, x, _computed(weight), *_options(mask), last, *needs
    )
    return (
        _unmap(dinput, last).to(input.dtype) if need_input else None,
        dweight.to(input.dtype) if need_weight else None,
        dbias.to(input.dtype) if need_bias else None,
    )


def _computed(tensor: Tensor) -> Tensor:
    """Halves as float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _map(tensor: Tensor, last: bool) -> Tensor:
    """As it is computed: halves as float32, the channels first or last."""
    return _computed(tensor.permute(0, 2, 3, 1) if last else tensor)


def _unmap(tensor: Tensor, last: bool) -> Tensor:
    return tensor.permute(0, 3, 1, 2) if last else tensor


def _options(mask: Mask) -> tuple[bool, int, int]:
    return mask.mask_type == "A", mask.image_channels, mask.gates
