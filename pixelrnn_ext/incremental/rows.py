"""Buffers of one image row, see pixelrnn_ext.incremental.steps."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Makes the buffers of one run: ``images`` images of ``width`` columns behind ``margin`` columns."""

    images: int
    width: int
    margin: int
    dtype: torch.dtype
    device: torch.device

    def buffer(self, channels: int, dtype: torch.dtype | None = None) -> Tensor:
        """Zeros."""
        size = self.margin + self.width, self.images, channels
        return torch.zeros(size, dtype=dtype or self.dtype, device=self.device)

    def bordered(self, channels: int, border: Tensor | None) -> Tensor:
        """Every column holds ``border`` (channels,), or zeros: a state before the first pixel."""
        buffer = self.buffer(channels)
        return buffer if border is None else buffer.copy_(border.detach())

    def map(self, buffer: Tensor) -> Tensor:
        """The row as a map (N, channels, 1, W), a view."""
        return buffer[self.margin :].permute(1, 2, 0).unsqueeze(2)

    def fill(self, buffer: Tensor, map: Tensor) -> None:
        """From a map of one row, broadcastable to (N, channels, 1, W)."""
        self.map(buffer).copy_(map)
