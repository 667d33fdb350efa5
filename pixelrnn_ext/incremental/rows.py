"""Buffers of one image row (steps.py)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators import columns
from .grid import Grid


@dataclass
class Rows:
    """Allocates the buffers of one image row: ``margin`` columns, then ``width`` columns, for ``images`` images.

    If ``grid`` is not None, layers round their outputs to it. ``capability`` is None if a CPU runs the steps. Otherwise
    it is 10 * major + minor of a GPU's compute capability, or 0 for the GPU ``device``. ``bytes_per_column`` is the
    size of all buffers, for one column of one image.
    """

    images: int
    width: int
    margin: int
    dtype: torch.dtype
    device: torch.device
    grid: Grid | None = None
    capability: int | None = None
    bytes_per_column: int = 0

    def __post_init__(self) -> None:
        if self.capability is None and columns.is_gpu(self.device):
            self.capability = 0

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
        """Returns a buffer's columns without the margin as a map (N, channels, 1, W), which is a view."""
        return self.within(buffer).permute(1, 2, 0).unsqueeze(2)
