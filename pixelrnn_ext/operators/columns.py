"""Calls the operators of sampling and coding (csrc/operators/columns.cpp) for incremental/native.py."""

import functools

import torch
from torch import Tensor

from .library import why_no_native


def can_run_on(device: torch.device) -> bool:
    return device.type == "cpu" and why_no_native() is None


@functools.cache
def step_code(name: str) -> int:
    """Returns the opcode of a named step of the sampler's program (csrc/cpu/column_program.h)."""
    return torch.ops.pixelrnn_ext.column_step(name)


def block_width(gates: int, dtype: torch.dtype) -> int:
    """Returns how many outputs, of ``gates`` gates each, a block of packed weights has (csrc/cpu/kernels.h)."""
    return torch.ops.pixelrnn_ext.column_block(gates, dtype == torch.float64)


def range_encode(intervals: Tensor) -> bytes:
    return torch.ops.pixelrnn_ext.range_encode(intervals).numpy().tobytes()


def round_to_grid(x: Tensor, bits: int, limit: float) -> None:
    """Rounds a contiguous float64 tensor in place to multiples of 2**-bits, ties to even, clamped to [-limit, limit].

    The threads' floating-point environment has no effect.
    """
    torch.ops.pixelrnn_ext.round_to_grid(x, bits, limit)
