"""The operators of sampling and coding (csrc/operators/columns.cpp), which incremental/native.py makes programs for."""

import functools

import torch
from torch import Tensor

from .library import why_no_native


def runs_on(device: torch.device) -> bool:
    return device.type == "cpu" and why_no_native() is None


@functools.cache
def step(name: str) -> int:
    """Returns the number of a kind of step in a program (csrc/cpu/column_program.h)."""
    return torch.ops.pixelrnn_ext.column_step(name)


def block(gates: int, dtype: torch.dtype) -> int:
    """Returns how many outputs of each gate are in a block of packed weights (csrc/cpu/kernels.h)."""
    return torch.ops.pixelrnn_ext.column_block(gates, dtype == torch.float64)


def range_encode(intervals: Tensor) -> bytes:
    """Computes incremental.range_coder.encode."""
    return torch.ops.pixelrnn_ext.range_encode(intervals).numpy().tobytes()


def round_to_grid(x: Tensor, bits: int, limit: float) -> None:
    """Rounds contiguous float64 in place to multiples of 2**-bits, ties to even, and clamps them to [-limit, limit].

    The result does not depend on the threads' floating-point environment.
    """
    torch.ops.pixelrnn_ext.round_to_grid(x, bits, limit)
