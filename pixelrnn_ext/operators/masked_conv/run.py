"""Runs a masked convolution on the requested backend: by the operator ``masked_conv2d``, or in plain PyTorch."""

import torch
from torch import Tensor

from ...masks import removes_nothing
from .. import backends
from ..precision import allows_tf32
from . import eager
from .arguments import Convolution


def run(c: Convolution, backend: str) -> Tensor:
    # float64 is PyTorch's by design, without a warning.
    gpu = None if c.input.dtype == torch.float64 else c.input.device
    chosen = backends.uses_kernels(backend, backends.CONVOLUTION_BACKENDS, lambda: _why_not(c.input), gpu)
    # If the mask removes nothing, PyTorch's convolution is faster. Nevertheless 16-bit maps go to the kernels, because
    # the kernels always add in float32.
    wide = c.input.dtype in (torch.float32, torch.float64)
    if chosen and not (wide and removes_nothing(c.weight, c.mask_type, c.image_channels)):
        return torch.ops.pixelrnn_ext.masked_conv2d(*c._replace(tf32=c.input.is_cuda and allows_tf32("conv")))
    return eager.masked_conv2d(c)


def _why_not(input: Tensor) -> str | None:
    if input.device.type != "cuda":
        return backends.why_not_native(input.device)
    try:
        from . import gpu
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    return gpu.why_not(input)
