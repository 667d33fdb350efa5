"""What a two-dimensional LSTM computes, in one value that checks itself."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...cells import CELLS, check_cell, check_peepholes
from ...directions import SUFFIXES, Direction2d, check_corners, check_merge
from ..operands import check_map, check_tensors, shape
from .sizes import check_sizes


class Scan2d(NamedTuple):
    """Directions over a map, each from its corner; shapes as in :func:`pixelrnn_ext.functional.lstm2d`."""

    input: Tensor
    directions: list[Direction2d]
    cell: str
    corners: tuple[str, ...]
    sizes: Tensor | None
    merge: str | None

    @property
    def hidden(self) -> int:
        return self.directions[0].weight_hh.shape[1]

    @property
    def gates(self) -> int:
        return len(CELLS[self.cell].gates)

    def to(self, dtype: torch.dtype) -> "Scan2d":
        """With tensors of ``dtype``; sizes stay integers."""
        return self._replace(input=self.input.to(dtype), directions=[d.to(dtype) for d in self.directions])

    def check(self) -> None:
        """TypeError or ValueError unless all of it fits together."""
        check_cell(self.cell)
        check_corners(self.corners)
        check_merge(self.merge)
        if len(self.directions) != len(self.corners):
            given = len(self.directions)
            raise ValueError(f"expected weights of {len(self.corners)} directions, one for each corner, got {given}")
        for direction in self.directions:
            if not isinstance(direction, Direction2d):
                raise TypeError(f"expected weights to be of functional.Direction2d, got {type(direction).__name__}")
        suffixes = [SUFFIXES[corner] for corner in self.corners]
        others = {
            name + suffix: tensor
            for suffix, direction in zip(suffixes, self.directions)
            for name, tensor in direction._asdict().items()
        }
        check_tensors(self.input, others)
        check_map(self.input)
        if self.input.shape[1] == 0:
            raise ValueError(f"expected input with a channel, got {shape(self.input)}")
        hidden = self.hidden if self.directions[0].weight_hh.dim() == 3 else 0
        for suffix, direction in zip(suffixes, self.directions):
            self._check_direction(direction, suffix, hidden)
        if self.sizes is not None:
            check_sizes(self.sizes, self.input)

    def _check_direction(self, d: Direction2d, suffix: str, hidden: int) -> None:
        gates = self.gates
        if d.weight_hh.shape != (gates * hidden, hidden, 2) or hidden == 0:
            first = d is self.directions[0]
            expected = f"({gates} * hidden, hidden, 2)" if first else f"({gates * hidden}, {hidden}, 2)"
            given = shape(d.weight_hh)
            raise ValueError(f"expected weight_hh{suffix} of shape {expected} for cell {self.cell!r}, got {given}")
        if d.peephole is not None:
            check_peepholes(self.cell)
        sizes = {
            "weight_ih": (gates * hidden, self.input.shape[1], 1, 1),
            "bias": (gates * hidden,),
            "h0": (hidden,),
            "c0": (hidden,),
            "peephole": (4, hidden),
        }
        for name, size in sizes.items():
            tensor = getattr(d, name)
            if tensor is not None and tensor.shape != size:
                raise ValueError(f"expected {name}{suffix} of shape {size}, got {shape(tensor)}")
