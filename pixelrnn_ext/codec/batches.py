"""Images of one size with their condition, and how far coding them is."""

from typing import NamedTuple

from torch import Tensor

from ..sampling import Progress, reporter


class Sized(NamedTuple):
    """Images of one size, (N, C, H, W) of int64, and their condition."""

    images: Tensor
    condition: Tensor | None

    @property
    def n(self) -> int:
        return self.images.shape[0]

    @property
    def rows(self) -> int:
        return self.n * self.images.shape[2]

    def some(self, index: Tensor) -> "Sized":
        """Those of an index."""
        return Sized(self.images[index], condition_of(self.condition, index))


def condition_of(condition: Tensor | None, index: Tensor | slice) -> Tensor | None:
    """That of some images; it may be one for all."""
    return condition if condition is None or condition.shape[0] == 1 else condition[index]


class Report:
    """Progress over batches, in rows of images; ``progress`` is that of ``model.sample``."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._call = reporter(progress)
        self._before, self._total = 0, total

    def of(self, rows: int) -> Progress | None:
        """That of a batch with so many rows of images, which reports its own."""
        call, before, total = self._call, self._before, self._total
        return call and (lambda done, of: call(before + rows * done // of, total))

    def end(self, rows: int) -> None:
        self._before += rows
