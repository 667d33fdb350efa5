"""The operators of the two-dimensional LSTM in differentiable PyTorch: what makes forward-mode and second derivatives
right.

They go through the reference, so that no formula is written twice. Shapes as in csrc/operators/lstm2d.cpp; a corner is
its place among :data:`pixelrnn_ext.directions.CORNERS`. ``path`` and ``tf32`` do not matter here.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import reference
from ...directions import CORNERS
from ..recurrence.eager import gates_dtype, state_dtype
from .sizes import Images

_NAMES = tuple(CORNERS)


def lstm2d_scan(
    input: Tensor,
    weight_ih: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    peepholes: Tensor | None,
    sizes: Tensor | None,
    corners: Sequence[int],
    cell: str,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """(h, c, gates) of all directions. Halves are computed in float32."""
    dtype, wide = weight.dtype, state_dtype(weight.dtype)
    input, weight_ih, weight = input.to(wide), weight_ih.to(wide), weight.to(wide)
    bias, h0, c0, peepholes = (None if t is None else t.to(wide) for t in (bias, h0, c0, peepholes))
    images = Images(sizes, input.permute(0, 3, 1, 2))

    def maps_of(d: int, corner: str) -> tuple[Tensor, ...]:
        """h, c and the gates of a direction, (N, channels, H, W) each."""
        matrix = weight_ih[d, 0].transpose(0, 1).flatten(0, 1)[:, :, None, None]
        x = torch.nn.functional.conv2d(images.alone, matrix, None if bias is None else bias[d].t().flatten())
        weight_hh = weight[d].permute(2, 1, 3, 0).flatten(0, 1)  # [G * h, h, taps]
        states = (None if t is None else t[d] for t in (h0, c0, peepholes))
        x = images.flipped(x, corner)
        maps = reference.diagonal_maps(x, weight_hh, *states, cell=cell, inside=images.inside)
        return tuple(images.clear_outside(images.flipped(m, corner)) for m in maps)

    directions = [maps_of(d, _NAMES[corner]) for d, corner in enumerate(corners)]
    h, c, activated = (torch.stack(maps).permute(0, 1, 3, 4, 2) for maps in zip(*directions))
    gates = _by_unit(activated, weight.shape[2]).to(gates_dtype(dtype))
    return h.permute(1, 2, 3, 0, 4).contiguous().to(dtype), c.contiguous(), gates


class Gradients(NamedTuple):
    """The arguments of lstm2d_gradients, as the operands of the scan and which of them are asked for."""

    dh: Tensor
    operands: list[Tensor | None]
    wanted: list[bool]
    sizes: Tensor | None
    corners: Sequence[int]
    cell: str

    @classmethod
    def of(cls, dh: Tensor, *args: Any) -> "Gradients":
        *operands, sizes, _, _, _, corners, cell, of_input, of_weight_ih, of_weight = args[:16]
        wanted = [of_input, of_weight_ih, of_weight, *(t is not None for t in operands[3:])]
        return cls(dh, operands, wanted, sizes, corners, cell)


def lstm2d_gradients(*args: Any) -> tuple[Tensor, ...]:
    """Of the operands, from which all is computed anew, so that a derivative of them depends on those alone."""
    dh, operands, wanted, sizes, corners, cell = Gradients.of(*args)
    gradients = pulled_back((dh, None, None), operands, wanted, sizes, corners, cell)
    return tuple(empty(place, operands) if gradient is None else gradient for place, gradient in enumerate(gradients))


def pulled_back(
    cotangents: Sequence[Tensor | None],
    operands: Sequence[Tensor | None],
    wanted: Sequence[bool],
    sizes: Tensor | None,
    corners: Sequence[int],
    cell: str,
) -> list[Tensor | None]:
    """Gradients of the operands that are wanted, from those of h, c and the gates, each of which may be None."""
    places = [place for place, want in enumerate(wanted) if want]

    def of_wanted(*values: Tensor) -> list[Tensor]:
        given = dict(zip(places, values))
        outputs = lstm2d_scan(*(given.get(i, t) for i, t in enumerate(operands)), sizes, corners, cell)  # type: ignore[arg-type, call-arg]
        return [out for out, cotangent in zip(outputs, cotangents) if cotangent is not None]

    if not places:
        return [None] * len(operands)
    _, pull_back = torch.func.vjp(of_wanted, *(operands[place] for place in places))[:2]
    found = dict(zip(places, pull_back([t for t in cotangents if t is not None])))
    return [found.get(place) for place in range(len(operands))]


def empty(place: int, operands: Sequence[Tensor | None]) -> Tensor:
    """What stands for a gradient that is not asked for: of its operand's shape, but for the first axis."""
    input, weight_ih, weight, *_ = operands
    assert input is not None and weight_ih is not None and weight is not None  # the others may be
    _, _, hidden, gates, _ = weight.shape
    sizes = input.shape[1:], weight_ih.shape[1:], weight.shape[1:], (hidden, gates), (hidden,), (hidden,), (4, hidden)
    return weight.new_empty(0, *sizes[place])


def _by_unit(gates: Tensor, hidden: int) -> Tensor:
    """Gates of pixels, [..., G * h], from blocks of h for each gate to the order of kernels: the four of a unit, then
    the fifth ones of all units where there are five."""
    four, fifth = gates[..., : 4 * hidden], gates[..., 4 * hidden :]
    return torch.cat([four.unflatten(-1, (4, hidden)).transpose(-1, -2).flatten(-2), fifth], -1)
