"""The operators of the two-dimensional LSTM on a GPU: what surrounds the recurrence, in matrix products of torch.

Shapes as in csrc/operators/lstm2d.cpp. Here the gates of a pixel are a row of G * h values, in the order of ``gates``
there: the four of every unit, then their fifth ones.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...directions import CORNERS
from ..autocast import runs_without_autocast
from ..devices import on_one_device
from ..recurrence.eager import displaced, state_dtype
from ..recurrence.gpu import laid_out_as
from . import eager
from .sizes import inside_of

_SENSES = tuple(CORNERS.values())


def register(namespace: str, device: str) -> None:
    """Makes the operators of ``namespace`` run on tensors of ``device`` through the namespace's ``recurrence2d``."""
    ops = getattr(torch.ops, namespace)
    for name, kernel in (
        ("lstm2d_scan", partial(lstm2d_scan, ops)),
        ("lstm2d_gradients", partial(lstm2d_gradients, ops)),
    ):
        torch.library.impl(f"{namespace}::{name}", device, runs_without_autocast(on_one_device(kernel)))


def lstm2d_scan(
    ops: Any,
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
    pixels = _alone(input, sizes).reshape(1, -1, input.shape[3]).expand(weight.shape[0], -1, -1)
    matrix = _rows(weight_ih[:, 0]).transpose(1, 2)
    product = (
        torch.bmm(pixels, matrix)
        if bias is None
        else torch.baddbmm(_rows(bias.unsqueeze(-1)).transpose(1, 2), pixels, matrix)
    )
    x = product.view(weight.shape[0], *input.shape[:3], product.shape[2])
    return ops.recurrence2d(x, weight, h0, c0, peepholes, sizes, corners, cell, path, tf32)


def lstm2d_gradients(
    ops: Any,
    dh: Tensor,
    input: Tensor,
    weight_ih: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    peepholes: Tensor | None,
    sizes: Tensor | None,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    corners: Sequence[int],
    cell: str,
    of_input: bool,
    of_weight_ih: bool,
    of_weight: bool,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, ...]:
    dx, dc_left, dc_above = ops.recurrence2d_backward(
        dh, weight, c0, peepholes, sizes, c, gates, corners, cell, path, tf32
    )
    operands = input, weight_ih, weight, bias, h0, c0, peepholes
    if not dx.numel():
        wanted = of_input, of_weight_ih, of_weight, *(t is not None for t in operands[3:])
        return tuple(
            torch.zeros_like(t) if want and t is not None else eager.empty(i, operands)
            for i, (t, want) in enumerate(zip(operands, wanted))
        )
    gradients: list[Tensor | None] = [None] * len(operands)
    by_pixel = dx.flatten(1, 3)  # [D, pixels, G * h]
    if of_input:
        gradients[0] = _sum_of_products(by_pixel, _rows(weight_ih[:, 0])).view_as(input)
    if of_weight_ih:
        product = by_pixel.transpose(1, 2) @ _alone(input, sizes).flatten(0, 2)
        gradients[1] = laid_out_as(weight_ih, _unrows(product, weight.shape[2]).unsqueeze(1))
    if of_weight:
        states = _neighbours(h.permute(3, 0, 1, 2, 4), h0, sizes, corners)
        products = [by_pixel.transpose(1, 2) @ state.flatten(1, 3) for state in states]
        gradients[2] = laid_out_as(weight, torch.stack([_unrows(p, weight.shape[2]) for p in products], 1))
    if bias is not None:
        gradients[3] = _unrows(_wide_sum(by_pixel, 1).unsqueeze(-1), weight.shape[2]).squeeze(-1).to(bias.dtype)
    if h0 is not None:
        outside = _border_sums(dx, sizes, corners)  # [D, 2, G * h], over the cells whose tap is outside of the image
        by_rows = torch.stack([_rows(weight[:, tap]) for tap in range(2)], 1).to(outside.dtype)
        gradients[4] = torch.einsum("dtr,dtrh->dh", outside, by_rows).to(h0.dtype)
    if c0 is not None:
        gradients[5] = (dc_left.sum((1, 2)) + dc_above.sum(1)).to(c0.dtype)
    if peepholes is not None:
        gradients[6] = _peephole_sums(dx, c, c0, sizes, corners).to(peepholes.dtype)
    return tuple(eager.empty(i, operands) if g is None else g for i, g in enumerate(gradients))


def _alone(input: Tensor, sizes: Tensor | None) -> Tensor:
    """The input [B, H, W, channels] with zeros outside of the images, where it may be NaN."""
    return _filled(input.unsqueeze(0), sizes, 0).squeeze(0)


def _rows(weight: Tensor) -> Tensor:
    """[D, h, G, channels] -> [D, G * h, channels]: a row for each value of a pixel's row of gates."""
    four, fifth = weight[:, :, :4].flatten(1, 2), weight[:, :, 4:].flatten(1, 2)
    return torch.cat([four, fifth], 1) if fifth.shape[1] else four


def _unrows(rows: Tensor, hidden: int) -> Tensor:
    """The inverse of :func:`_rows`."""
    four, fifth = rows[:, : 4 * hidden].unflatten(1, (hidden, 4)), rows[:, 4 * hidden :].unsqueeze(2)
    return torch.cat([four, fifth], 2) if fifth.shape[1] else four


def _sum_of_products(rows: Tensor, matrices: Tensor) -> Tensor:
    """The sum over directions of rows [D, n, k] times matrices [D, k, channels]."""
    total = rows[0] @ matrices[0]
    for d in range(1, rows.shape[0]):
        total = torch.addmm(total, rows[d], matrices[d])
    return total


def _neighbours(m: Tensor, border: Tensor | None, sizes: Tensor | None, corners: Sequence[int]) -> list[Tensor]:
    """The pixel above and the pixel to the left of each pixel of m [D, B, H, W, h], in the order of the scans; outside
    of the image the border [D, h], or zero."""
    m = _filled(m, sizes, 0 if border is None else border[:, None, None, None])

    def displaced_by(rows: int, columns: int) -> Tensor:
        maps = []
        for d, corner in enumerate(corners):
            down, right = _SENSES[corner]
            maps.append(displaced(m[d], rows * down, columns * right, False, None if border is None else border[d]))
        return torch.stack(maps)

    return [displaced_by(1, 0), displaced_by(0, 1)]


def _border_sums(dx: Tensor, sizes: Tensor | None, corners: Sequence[int]) -> Tensor:
    """[D, 2, G * h]: the sum of dx over the first row of the images, and over their first column, in the order of each
    scan."""
    images = torch.arange(dx.shape[1], device=dx.device)

    def first(map: Tensor, axis: int, sense: int) -> Tensor:
        if sense > 0:
            return map.select(1 + axis, 0)
        if sizes is None:
            return map.select(1 + axis, -1)
        last = sizes[:, axis].clamp(1, map.shape[1 + axis]) - 1  # of an empty image dx is zero
        return map[images, last] if axis == 0 else map[images, :, last]

    sums = [
        [_wide_sum(first(dx[d], axis, sense), (0, 1)) for axis, sense in enumerate(_SENSES[corner])]
        for d, corner in enumerate(corners)
    ]
    return torch.stack([torch.stack(taps) for taps in sums])


def _peephole_sums(dx: Tensor, c: Tensor, c0: Tensor | None, sizes: Tensor | None, corners: Sequence[int]) -> Tensor:
    """[D, 4, h]: of each gate's gradients times the c that it sees."""
    hidden = c.shape[-1]
    wide = dx.to(c.dtype)
    i, f, _, o = wide[..., : 4 * hidden].unflatten(-1, (hidden, 4)).unbind(-1)
    up = wide[..., 4 * hidden :]
    c_up, c_left = _neighbours(c, None if c0 is None else c0.to(c.dtype), sizes, corners)
    c = _filled(c, sizes, 0)
    products = (i * (c_up + c_left), f * c_left, up * c_up, o * c)
    return torch.stack([p.sum((1, 2, 3)) for p in products], 1)


def _filled(m: Tensor, sizes: Tensor | None, filling: Tensor | float) -> Tensor:
    """m [D, B, H, W, h], where outside of the images there may be anything."""
    if sizes is None:
        return m
    inside = inside_of(sizes, m.shape[2], m.shape[3], m.device)
    return torch.where(inside[:, :, :, None], m, filling)


def _wide_sum(t: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    return t.sum(axes, dtype=state_dtype(t.dtype))
