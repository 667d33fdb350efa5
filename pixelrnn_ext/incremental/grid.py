"""Numbers on which arithmetic is exact: what the codec computes with (docs/compression.md)."""

from typing import NamedTuple

from torch import Tensor


class Grid(NamedTuple):
    """Multiples of 2**-activation up to ``limit`` in size, with weights that are multiples of 2**-weight.

    All are held in float64, in which no sum of a layer leaves the integers that are exact: no order, batch, thread
    count, instruction set or library can change a bit. csrc/cpu/grid.h has the same numbers.
    """

    activation: int = 14
    weight: int = 16
    limit: float = 256.0

    def rounded(self, x: Tensor) -> Tensor:
        """To the nearest multiple of an activation's unit, ties to even, of numbers of less than 2**36 in size."""
        return (x + self._magic).sub_(self._magic)

    def clamped(self, x: Tensor) -> Tensor:
        return x.clamp(-self.limit, self.limit)

    def written(self, x: Tensor) -> Tensor:
        """A layer's output."""
        return self.rounded(x).clamp_(-self.limit, self.limit)

    def write_(self, x: Tensor) -> Tensor:
        """:meth:`written`, in place."""
        return x.add_(self._magic).sub_(self._magic).clamp_(-self.limit, self.limit)

    @property
    def _magic(self) -> float:
        """So large that a sum with it has the unit's multiples alone."""
        return 1.5 * 2.0 ** (52 - self.activation)


def on_grid(x: Tensor, bits: int) -> Tensor:
    """To the nearest multiple of 2**-bits, ties to even: both factors are powers of two, so only ``round`` rounds."""
    return (x * 2.0**bits).round_().mul_(2.0**-bits)


PROFILES = (Grid(),)
"""By the number that a file has of them."""
