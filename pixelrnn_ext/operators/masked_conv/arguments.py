"""The arguments of ``torch.ops.pixelrnn_ext.masked_conv2d`` and ``masked_conv2d_backward``.

The fields of each tuple have the order of the operator's schema, which rules.py defines.
"""

from typing import NamedTuple

from torch import Tensor


class Convolution(NamedTuple):
    """The arguments of ``masked_conv2d``. ``tf32`` allows tf32 in the products of float32 maps on a GPU."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    mask_type: str
    image_channels: int
    gates: int
    relu: bool
    tf32: bool = False


class Gradients(NamedTuple):
    """The arguments of ``masked_conv2d_backward``.

    ``output`` is the result of the convolution, and needed only with a ReLU.
    """

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
    tf32: bool = False
