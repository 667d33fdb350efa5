"""Buffers of one image row (steps.py)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .grid import Grid


@dataclass
class Rows:
    """Allocates buffers of one image row: ``margin`` columns, then ``width`` columns, of ``images`` images.

    Layers round their outputs to ``grid``, unless it is None. ``bytes_per_column`` counts bytes per column and image.
    """

    images: int
    width: int
    margin: int
    dtype: torch.dtype
    device: torch.device
    grid: Grid | None = None
    bytes_per_column: int = 0

    def buffer(self, channels: int, dtype: torch.dtype | None = None) -> Tensor:
        return self.zeros(self.margin + self.width, channels, dtype)

    def zeros(self, columns: int, channels: int, dtype: torch.dtype | None = None) -> Tensor:
        dtype = dtype or self.dtype
        self.bytes_per_column += channels * dtype.itemsize
        return torch.zeros(columns, self.images, channels, dtype=dtype, device=self.device)

    def vector(self, channels: int, values: Tensor | None) -> Tensor:
        if values is None:
            return torch.zeros(channels, dtype=self.dtype, device=self.device)
        return values.detach().to(self.dtype)

    def within(self, buffer: Tensor) -> Tensor:
        return buffer[self.margin :]

    def map(self, buffer: Tensor) -> Tensor:
        """Returns the row of a buffer as a map (N, channels, 1, W), a view."""
        return self.within(buffer).permute(1, 2, 0).unsqueeze(2)
