"""Makes buffers of one image row, see pixelrnn_ext.incremental.steps."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .grid import Grid


@dataclass
class Rows:
    """Makes the buffers of one run: ``images`` images of ``width`` columns behind ``margin`` columns.

    Layers round their outputs to ``grid``, if there is one. ``bytes_of_column`` counts the bytes of all buffers for one
    column of an image.
    """

    images: int
    width: int
    margin: int
    dtype: torch.dtype
    device: torch.device
    grid: Grid | None = None
    bytes_of_column: int = 0

    def buffer(self, channels: int, dtype: torch.dtype | None = None) -> Tensor:
        """Returns a buffer of zeros."""
        return self._columns(self.margin + self.width, channels, dtype or self.dtype)

    def between(self, channels: int, side: int) -> Tensor:
        """Returns zeros for the columns of a row and for ``side`` columns on either side of them."""
        return self._columns(side + self.width + side, channels, self.dtype)

    def _columns(self, columns: int, channels: int, dtype: torch.dtype) -> Tensor:
        self.bytes_of_column += channels * dtype.itemsize
        return torch.zeros(columns, self.images, channels, dtype=dtype, device=self.device)

    def bordered(self, channels: int, border: Tensor | None) -> Tensor:
        """Returns a buffer with ``border`` (channels,), or zeros, in every column: a state before the first pixel."""
        buffer = self.buffer(channels)
        return buffer if border is None else buffer.copy_(border.detach())

    def vector(self, channels: int, values: Tensor | None) -> Tensor:
        """Returns ``values`` (channels,), or zeros."""
        return torch.zeros(channels, dtype=self.dtype, device=self.device) if values is None else values.detach()

    def mirror(self, source: Tensor, target: Tensor) -> None:
        """Copies the columns of a row from one buffer to another, in reverse order."""
        torch.index_select(source[self.margin :], 0, self._backwards, out=target[self.margin :])

    @cached_property
    def _backwards(self) -> Tensor:
        return torch.arange(self.width - 1, -1, -1, device=self.device)

    def map(self, buffer: Tensor) -> Tensor:
        """Returns the row of a buffer as a map (N, channels, 1, W), a view."""
        return buffer[self.margin :].permute(1, 2, 0).unsqueeze(2)

    def fill(self, buffer: Tensor, map: Tensor) -> None:
        """Copies a map of one row, broadcastable to (N, channels, 1, W), to a buffer."""
        self.map(buffer).copy_(map)
