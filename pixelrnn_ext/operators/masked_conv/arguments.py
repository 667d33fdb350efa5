"""The arguments of ``torch.ops.pixelrnn_ext.masked_conv2d`` and ``masked_conv2d_backward``.

Each tuple is in the order of its operator's schema (rules.py). Kernels, rules and decompositions take one of the two.
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
    """Arguments of ``masked_conv2d_backward``. Only a ReLU needs ``output``."""

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
