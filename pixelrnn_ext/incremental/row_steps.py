"""Row steps: they compute all columns of an image row together, before or after the steps of its pixels.

``output``, ``source`` and ``columns`` are buffers of an image row (steps.py), or only some columns of such buffers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Product(NamedTuple):
    """A convolution along a row: ``columns`` [W + taps - 1, N, channels] with ``weight`` (taps, channels, outputs)."""

    columns: Tensor
    weight: Tensor


class RowSum(NamedTuple):
    """output = bias + the current row of ``map`` + all ``products``. ``map`` is (N or 1, outputs, H or 1, W or 1).

    If ``bias`` is None, ``map`` is not None.
    """

    output: Tensor
    bias: Tensor | None = None
    map: Tensor | None = None
    products: Sequence[Product] = ()


class RowCopy(NamedTuple):
    """output = source. If ``mirrored``, the columns of ``source`` go to ``output`` from right to left."""

    output: Tensor
    source: Tensor
    mirrored: bool = False


RowStep = RowSum | RowCopy


def run_row_steps(steps: list[RowStep], row: int) -> None:
    for step in steps:
        if isinstance(step, RowSum):
            _sum(step, row)
        elif step.mirrored:
            backwards = torch.arange(len(step.source) - 1, -1, -1, device=step.source.device)
            torch.index_select(step.source, 0, backwards, out=step.output)
        else:
            step.output.copy_(step.source)


def _sum(step: RowSum, row: int) -> None:
    if step.bias is not None:
        step.output.copy_(step.bias)
    if step.map is not None:
        row = min(row, step.map.shape[2] - 1)  # a map of height 1 serves all image rows
        values = step.map[:, :, row].permute(2, 0, 1)
        step.output.copy_(values) if step.bias is None else step.output.add_(values)
    for columns, weight in step.products:
        for k, tap in enumerate(weight):
            step.output.flatten(0, 1).addmm_(columns[k : k + len(step.output)].flatten(0, 1), tap)
