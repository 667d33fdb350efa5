"""Fixed-point grids on which the codec's sums are exact (docs/compression.md)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..operators import columns, library


class Grid(NamedTuple):
    """A fixed-point grid: activations are multiples of 2**-activation in [-limit, limit], weights of 2**-weight.

    csrc/cpu/grid.h has the same numbers.
    """

    activation: int = 14
    weight: int = 16
    limit: float = 256.0

    def rounded(self, x: Tensor) -> Tensor:
        return on_grid(x, self.activation)

    def clamped(self, x: Tensor) -> Tensor:
        return x.clamp(-self.limit, self.limit)

    def quantized(self, x: Tensor) -> Tensor:
        return on_grid(x, self.activation, self.limit)

    def quantize_(self, x: Tensor) -> Tensor:
        return _round(x, self.activation, self.limit)


def on_grid(x: Tensor, bits: int, limit: float = math.inf) -> Tensor:
    """Returns the nearest multiples of 2**-bits, ties to even, clamped to [-limit, limit]."""
    return _round(x.clone(memory_format=torch.contiguous_format), bits, limit)


def _round(x: Tensor, bits: int, limit: float) -> Tensor:
    """Rounds and clamps in place. PyTorch's result depends on the thread's rounding mode (codec/self_check.py)."""
    if x.device.type != "cpu" or library.why_no_native():
        # Both factors are powers of two, so only ``round_`` rounds.
        return x.mul_(math.ldexp(1, bits)).round_().mul_(math.ldexp(1, -bits)).clamp_(-limit, limit)
    contiguous = x.contiguous()
    columns.round_to_grid(contiguous, bits, limit)
    return x if contiguous is x else x.copy_(contiguous)


PROFILES = (Grid(),)  # indexed by a codec file's profile number
