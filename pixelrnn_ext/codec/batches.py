"""Images of one size with their condition, and progress over batches."""

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

    def select(self, index: Tensor) -> "Sized":
        return Sized(self.images[index], condition_of(self.condition, index))


def condition_of(condition: Tensor | None, index: Tensor | slice) -> Tensor | None:
    """Selects the condition of some images. A condition of batch size 1 applies to all images."""
    return condition if condition is None or condition.shape[0] == 1 else condition[index]


class Report:
    """Progress over batches, one after the other, in rows of images of ``total``; calls ``progress`` (reporter)."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._call = reporter(progress)
        self._before, self._total = 0, total

    def of_batch(self, rows: int) -> Progress | None:
        """Returns the callback for the next batch. It maps the batch's progress to ``rows`` of the total."""
        call, before, total = self._call, self._before, self._total
        self._before += rows
        return call and (lambda done, whole: call(before + rows * done // whole, total))
