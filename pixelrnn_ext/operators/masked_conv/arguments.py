"""The arguments of ``torch.ops.pixelrnn_ext.masked_conv2d`` and ``masked_conv2d_backward``.

Each tuple has the order of its operator's schema (rules.py).
"""

from typing import NamedTuple

from torch import Tensor


class Convolution(NamedTuple):
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    mask_type: str
    image_channels: int
    gates: int
    relu: bool


class Gradients(NamedTuple):
    """Arguments of ``masked_conv2d_backward``. ``output`` is needed only with a ReLU."""

    grad_output: Tensor
    output: Tensor | None
    input: Tensor
    weight: Tensor
    mask_type: str
    image_channels: int
    gates: int
    relu: bool
    need_input: bool
    need_weight: bool
    need_bias: bool
