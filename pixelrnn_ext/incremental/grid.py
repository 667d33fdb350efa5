"""The codec's fixed-point grids. Sums of numbers on such a grid are exact (docs/compression.md)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..operators import columns, library


class Grid(NamedTuple):
    """A fixed-point grid for activations and weights. csrc/cpu/grid.h has the same numbers.

    Activations are multiples of 2**-activation from -limit to limit. Weights are multiples of 2**-weight.
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
    """Returns ``x`` rounded to multiples of 2**-bits, ties to even, and clamped to [-limit, limit]."""
    return _round(x.clone(memory_format=torch.contiguous_format), bits, limit)


def _round(x: Tensor, bits: int, limit: float) -> Tensor:
    """Rounds and clamps ``x`` in place. PyTorch rounds as the thread's rounding mode says (codec/self_check.py)."""
    if x.device.type != "cpu" or library.why_no_native():
        # Multiplying by a power of two is exact, so only ``round_`` rounds.
        return x.mul_(math.ldexp(1, bits)).round_().mul_(math.ldexp(1, -bits)).clamp_(-limit, limit)
    contiguous = x.contiguous()
    columns.round_to_grid(contiguous, bits, limit)
    return x if contiguous is x else x.copy_(contiguous)


PROFILES = (Grid(),)  # indexed by a codec file's profile number
