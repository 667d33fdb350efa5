"""The arguments of a recurrent layer as users name them, and the checks of these arguments."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..._arguments import integer
from ...cells import CELLS, check_cell, check_peepholes
from ...directions import SUFFIXES, Direction2d
from ...masks import check_colour_groups, check_mask_type
from ..autocast import autocast_on
from ..operands import check_map, check_tensors, shape
from .packing import Packed
from .sizes import check_sizes


class Problem(NamedTuple):
    """One call of a recurrent layer. :mod:`pixelrnn_ext.functional` describes the shapes.

    ``merge`` may also be ``"shift"``, for the Diagonal BiLSTM. ``cell`` is None for the layers of PixelRNN. ``packed``
    has the parameters of ``directions`` again, if they were packed together with other layers.
    """

    input: Tensor
    directions: list[Direction2d]
    gate_bias: Tensor | None = None
    sizes: Tensor | None = None
    mask_type: str | None = None
    image_channels: int = 1
    corners: tuple[str, ...] = ("tl",)
    merge: str | None = "concat"
    diagonal: bool = True
    cell: str | None = None
    packed: Packed | None = None

    @property
    def hidden(self) -> int:
        return self.directions[0].weight_hh.shape[1]

    @property
    def gates(self) -> int:
        return len(CELLS[self.cell or "pixelrnn"].gates)

    def to(self, dtype: torch.dtype) -> "Problem":
        gate_bias = self.gate_bias
        if gate_bias is None and self.input.dtype == dtype and not autocast_on(self.input.device.type):
            return self  # check() has found that all tensors have the dtype of the input
        if gate_bias is not None:
            gate_bias = gate_bias.to(dtype).expand(self._gate_bias_shape())
        if self.packed is not None:
            return self._replace(input=self.input.to(dtype), packed=self.packed.to(dtype), gate_bias=gate_bias)
        directions = [direction.to(dtype) for direction in self.directions]
        return self._replace(input=self.input.to(dtype), directions=directions, gate_bias=gate_bias)

    def check(self) -> None:
        if self.cell is not None:
            check_cell(self.cell)
        integer("image_channels", self.image_channels)
        if len(self.directions) != len(self.corners):
            number = len(self.directions)
            raise ValueError(f"expected weights of {len(self.corners)} directions, one for each corner, got {number}")
        for direction in self.directions:
            if not isinstance(direction, Direction2d):
                raise TypeError(f"expected weights to be of functional.Direction2d, got {type(direction).__name__}")
        others, suffixes = {"gate_bias": self.gate_bias}, self._suffixes()
        for suffix, direction in zip(suffixes, self.directions):
            others |= {name + suffix: tensor for name, tensor in direction._asdict().items()}
        check_tensors(self.input, others)
        check_map(self.input)
        check_mask_type(self.mask_type, optional=True)
        if self.input.shape[1] == 0:
            raise ValueError(f"expected input with a channel, got {shape(self.input)}")
        hidden = self.hidden if self.directions[0].weight_hh.dim() == 3 else 0
        for suffix, direction in zip(suffixes, self.directions):
            self._check_direction(direction, suffix, hidden)
        if self.mask_type is not None:
            check_colour_groups(hidden, self.image_channels)
            check_colour_groups(self.input.shape[1], self.image_channels)
        if self.gate_bias is not None:
            expected, got = self._gate_bias_shape(), shape(self.gate_bias)
            if len(got) != 4 or any(side not in (1, full) for side, full in zip(got, expected)):
                raise ValueError(f"expected gate_bias broadcastable to {expected}, got {got}")
        if self.sizes is not None:
            check_sizes(self.sizes, self.input)

    def _suffixes(self) -> list[str]:
        unnamed = self.cell is None and len(self.corners) == 1
        return [""] if unnamed else [SUFFIXES[corner] for corner in self.corners]

    def _gate_bias_shape(self) -> tuple[int, int, int, int]:
        n, _, height, width = self.input.shape
        return n, self.gates * self.hidden * len(self.directions), height, width

    def _check_direction(self, d: Direction2d, suffix: str, hidden: int) -> None:
        rows, for_cell = self.gates * hidden, "" if self.cell is None else f" for cell {self.cell!r}"
        fits = d.weight_hh.dim() == 3 and d.weight_hh.shape[:2] == (rows, hidden) and hidden != 0
        if not fits or (self.diagonal and d.weight_hh.shape[2] != 2):
            first, taps = d is self.directions[0], "2" if self.diagonal else "taps"
            expected = f"({self.gates} * hidden, hidden, {taps})" if first else f"({rows}, {hidden}, {taps})"
            raise ValueError(f"expected weight_hh{suffix} of shape {expected}{for_cell}, got {shape(d.weight_hh)}")
        if not self.diagonal and d.weight_hh.shape[2] % 2 == 0:
            raise ValueError(f"expected an odd number of taps in weight_hh{suffix}, got {d.weight_hh.shape[2]}")
        in_channels, kernel = self.input.shape[1], d.weight_ih.shape[3] if d.weight_ih.dim() == 4 else 0
        if d.weight_ih.shape != (rows, in_channels, 1, 1 if self.diagonal else kernel) or kernel == 0:
            expected = f"({rows}, {in_channels}, 1, {'1' if self.diagonal else 'k'})"
            raise ValueError(f"expected weight_ih{suffix} of shape {expected}, got {shape(d.weight_ih)}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel in weight_ih{suffix}, got {kernel}")
        if d.peephole is not None:
            check_peepholes(self.cell or "pixelrnn")
        sizes = {"bias": (rows,), "h0": (hidden,), "c0": (hidden,), "peephole": (4, hidden)}
        for name, size in sizes.items():
            tensor = getattr(d, name)
            if tensor is not None and tensor.shape != size:
                raise ValueError(f"expected {name}{suffix} of shape {size}, got {shape(tensor)}")
