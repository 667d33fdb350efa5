"""The operators of sampling and coding: all steps of an image row in one call of the compiled library
(csrc/operators/columns.cpp)."""

import functools

import torch
from torch import Tensor

from .library import why_no_native


def runs_on(device: torch.device) -> bool:
    return device.type == "cpu" and why_no_native() is None


def run_columns(
    tensors: list[Tensor],
    code: list[int],
    margin: int,
    *,
    temperature: float = 1.0,
    on_grid: bool = False,
    streams: Tensor | None = None,
    data: Tensor | None = None,
) -> None:
    """Runs a program at every column behind the margin; it is a list of integers, which index the tensors.

    ``temperature`` is of draws; ``streams``, in ``data``, are what is decoded.
    """
    torch.ops.pixelrnn_ext.run_columns(tensors, code, margin, temperature, on_grid, streams, data)


@functools.cache
def step(name: str) -> int:
    """Returns the number of a kind of step in a program (csrc/cpu/column_program.h)."""
    return torch.ops.pixelrnn_ext.column_step(name)


def block(gates: int, dtype: torch.dtype) -> int:
    """Outputs, of each of 1 or 4 gates, of a block of packed weights (csrc/cpu/column_kernels.h)."""
    return torch.ops.pixelrnn_ext.column_block(gates, dtype == torch.float64)


def range_encode(intervals: Tensor) -> bytes:
    """As incremental.range_coder.encode."""
    return torch.ops.pixelrnn_ext.range_encode(intervals).numpy().tobytes()


def round_to_grid(x: Tensor, bits: int, limit: float) -> None:
    """Rounds contiguous float64 in place to multiples of 2**-bits, ties to even, and clamps them to [-limit, limit].

    The result is the same in any floating-point environment of the threads.
    """
    torch.ops.pixelrnn_ext.round_to_grid(x, bits, limit)
