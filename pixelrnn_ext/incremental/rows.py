"""Buffers of one image row (steps.py)."""

from collections.abc import Callable
from dataclasses import dataclass, field

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
    _initial: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    _maps: list[tuple[Callable[[], Tensor], Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.capability is None and columns.is_gpu(self.device):
            self.capability = 0

    def buffer(self, channels: int, dtype: torch.dtype | None = None, initial: Tensor | None = None) -> Tensor:
        """Allocates a buffer of ``initial`` (channels,), or of zeros."""
        return self.columns(self.margin + self.width, channels, dtype, initial, self.margin)

    def columns(
        self,
        count: int,
        channels: int,
        dtype: torch.dtype | None = None,
        initial: Tensor | None = None,
        first: int = 0,
    ) -> Tensor:
        """Allocates ``count`` columns. Steps write only to columns from ``first`` on."""
        dtype = dtype or self.dtype
        self.bytes_per_column += channels * dtype.itemsize
        buffer = torch.zeros(count, self.images, channels, dtype=dtype, device=self.device)
        if initial is not None:
            buffer.copy_(initial)
        self._initial.append((buffer[first:], initial))
        return buffer

    def reset(self) -> None:
        """Gives all buffers the values that they had before the first row of an image."""
        for buffer, initial in self._initial:
            buffer.zero_() if initial is None else buffer.copy_(initial)

    def derived(self, compute: Callable[[], Tensor]) -> Tensor:
        """Returns the result of ``compute``, a function of maps. :meth:`update_derived` computes it again, in place."""
        self._maps.append((compute, compute()))
        return self._maps[-1][1]

    def update_derived(self) -> None:
        for compute, result in self._maps:
            new = compute()
            # Tensors with the same address are views of one tensor that already has its new values, so nothing is
            # copied.
            if new.data_ptr() != result.data_ptr():
                result.copy_(new)

    def vector(self, channels: int, values: Tensor | None) -> Tensor:
        if values is None:
            return torch.zeros(channels, dtype=self.dtype, device=self.device)
        return values.detach().to(self.dtype, copy=True)

    def within(self, buffer: Tensor) -> Tensor:
        return buffer[self.margin :]

    def map(self, buffer: Tensor) -> Tensor:
        """Returns a buffer's columns without the margin as a map (N, channels, 1, W), which is a view."""
        return self.within(buffer).permute(1, 2, 0).unsqueeze(2)
