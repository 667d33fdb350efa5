"""What a recurrence computes, in one value: its tensors, and which pixels are read by which."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...masks import check_colour_groups, check_recurrent_mask_type
from ..operands import check_map, check_tensors, shape


class Direction(NamedTuple):
    """The parameters of one scan; shapes as in :func:`pixelrnn_ext.functional.row_lstm`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    h0: Tensor | None
    c0: Tensor | None

    def to(self, dtype: torch.dtype) -> "Direction":
        bias, h0, c0 = (None if t is None else t.to(dtype) for t in (self.bias, self.h0, self.c0))
        return Direction(self.weight_ih.to(dtype), self.weight_hh.to(dtype), bias, h0, c0)


class Scan(NamedTuple):
    """One direction over a map, or two: then the second is the other way round. ``reverse`` is the way of the first."""

    input: Tensor
    directions: list[Direction]
    gate_bias: Tensor | None
    diagonal: bool
    reverse: bool
    mask_type: str | None
    image_channels: int

    @property
    def hidden(self) -> int:
        return self.directions[0].weight_hh.shape[1]

    def to(self, dtype: torch.dtype) -> "Scan":
        """With tensors of ``dtype``, and a gate_bias that is as large as what it is added to."""
        gate_bias = self.gate_bias
        if gate_bias is not None:
            n, _, height, width = self.input.shape
            gate_bias = gate_bias.to(dtype).expand(n, 4 * self.hidden * len(self.directions), height, width)
        directions = [direction.to(dtype) for direction in self.directions]
        return Scan(self.input.to(dtype), directions, gate_bias, *self[3:])

    def check(self) -> None:
        """TypeError or ValueError unless all of it fits together."""
        others = {"gate_bias": self.gate_bias}
        for suffix, direction in zip(("", "_reverse"), self.directions):
            others |= {name + suffix: tensor for name, tensor in direction._asdict().items()}
        check_tensors(self.input, others)
        check_map(self.input)
        check_recurrent_mask_type(self.mask_type)

        n, in_channels, height, width = self.input.shape
        hidden = self.hidden if self.directions[0].weight_hh.dim() == 3 else 0
        for suffix, direction in zip(("", "_reverse"), self.directions):
            self._check_direction(direction, suffix, in_channels, hidden)
        if self.mask_type is not None:
            check_colour_groups(hidden, self.image_channels)
            check_colour_groups(in_channels, self.image_channels)
        if self.gate_bias is not None:
            sizes = (n, 4 * hidden * len(self.directions), height, width)
            given = self.gate_bias.shape
            if self.gate_bias.dim() != 4 or any(got not in (1, want) for got, want in zip(given, sizes)):
                raise ValueError(f"expected gate_bias broadcastable to {sizes}, got {shape(self.gate_bias)}")

    def _check_direction(self, d: Direction, suffix: str, in_channels: int, hidden: int) -> None:
        fits = d.weight_hh.dim() == 3 and d.weight_hh.shape[:2] == (4 * hidden, hidden) and hidden != 0
        if not fits or (self.diagonal and d.weight_hh.shape[2] != 2):
            taps = "2" if self.diagonal else "taps"
            raise ValueError(
                f"expected weight_hh{suffix} of shape (4 * hidden, hidden, {taps}), got {shape(d.weight_hh)}"
            )
        if not self.diagonal and d.weight_hh.shape[2] % 2 == 0:
            raise ValueError(f"expected an odd number of taps in weight_hh{suffix}, got {d.weight_hh.shape[2]}")
        kernel = d.weight_ih.shape[3] if d.weight_ih.dim() == 4 else 0
        if d.weight_ih.shape != (4 * hidden, in_channels, 1, 1 if self.diagonal else kernel) or kernel == 0:
            expected = f"({4 * hidden}, {in_channels}, 1, {'1' if self.diagonal else 'k'})"
            raise ValueError(f"expected weight_ih{suffix} of shape {expected}, got {shape(d.weight_ih)}")
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd kernel in weight_ih{suffix}, got {kernel}")
        for name, tensor, size in (("bias", d.bias, 4 * hidden), ("h0", d.h0, hidden), ("c0", d.c0, hidden)):
            if tensor is not None and tensor.shape != (size,):
                raise ValueError(f"expected {name}{suffix} of shape ({size},), got {shape(tensor)}")
