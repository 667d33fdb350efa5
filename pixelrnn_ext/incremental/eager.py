"""Runs steps in PyTorch, on any device. csrc/cpu/columns.cpp must do the same."""

from typing import Any

import torch
from torch import Tensor

from .. import likelihood
from .graph import capture
from .range_coder import cumulative
from .rows import Rows
from .steps import CellStep, Decode, Draw, Encode, Linear, Pointwise, Step, Tap


class EagerRow:
    """Runs the steps at each column of a row. One CUDA graph serves all columns, because ``column`` is a tensor.

    ``why_not`` is None, or one sentence why a GPU's kernels cannot run the steps.
    """

    def __init__(self, rows: Rows, steps: list[Step], why_not: str | None = None) -> None:
        self.why_not = why_not
        self.rows: Rows = rows
        self.steps: list[Step] = steps
        self.column: Tensor = torch.zeros(1, dtype=torch.int64, device=rows.device)
        self._graph: torch.cuda.CUDAGraph | None = None

    def run(self) -> None:
        if self.rows.device.type == "cuda" and self._graph is None and self.steps:
            self.column.fill_(self.rows.margin)
            self._graph = capture(self.rows.device, self._run_steps, warm_up=True)
        self.column.fill_(self.rows.margin)  # the warm-up may have run this column; a second run gives the same values
        for _ in range(self.rows.width if self.steps else 0):
            self._graph.replay() if self._graph else self._run_steps()

    def _run_steps(self) -> None:
        for step in self.steps:
            _RUN[type(step)](self, step)
        self.column += 1

    def read(self, buffer: Tensor, shift: int = 0) -> Tensor:
        return buffer.index_select(0, self.column + shift).squeeze(0)

    def write(self, buffer: Tensor, start: int, stop: int, value: Tensor) -> None:
        buffer[:, :, start:stop].index_copy_(0, self.column, value.unsqueeze(0))

    def rounded(self, x: Tensor) -> Tensor:
        return x if self.rows.grid is None else self.rows.grid.rounded(x)

    def clamped(self, x: Tensor) -> Tensor:
        return x if self.rows.grid is None else self.rows.grid.clamped(x)

    def add_products(self, taps: list[Tap], total: Tensor) -> Tensor:
        for tap in taps:
            total = torch.addmm(total, self.read(tap.input, tap.shift)[:, : tap.channels], tap.weight)
        return total


def _linear(row: EagerRow, s: Linear) -> None:
    y = row.clamped(row.rounded(row.add_products(s.taps, row.read(s.base)[:, s.start : s.stop])))
    row.write(s.output, s.start, s.stop, y.relu() if s.relu else y)


def _cell(row: EagerRow, s: CellStep) -> None:
    units = slice(s.start, s.stop)
    base = row.read(s.base).unflatten(1, (4, -1))[:, :, units].flatten(1)
    i, f, g, o = row.rounded(row.add_products(s.taps, base)).chunk(4, 1)
    i, f, g, o = (row.rounded(gate) for gate in (i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()))
    c = row.clamped(row.rounded(f * row.read(s.carried, s.shift)[:, units] + i * g))
    h = row.rounded(o * row.rounded(c.tanh()))
    addend = row.read(s.addend)[:, units]
    row.write(s.c, s.start, s.stop, c)
    row.write(s.h, s.start, s.stop, h)
    row.write(s.output, s.start, s.stop, h + addend)


def _pointwise(row: EagerRow, s: Pointwise) -> None:
    y = row.read(s.left)[:, s.start : s.stop]
    y = row.clamped(y if s.right is None else y + row.read(s.right)[:, s.start : s.stop])
    row.write(s.output, s.start, s.stop, y.relu() if s.relu else y)


def _draw(row: EagerRow, s: Draw) -> None:
    _write_value(row, s, likelihood.draw_or_mark(_logits(row, s), row.read(s.uniform)[:, s.colour], s.temperature))


def _encode(row: EagerRow, s: Encode) -> None:
    k, bounds = s.colour, cumulative(_logits(row, s))
    values = row.read(s.values)[:, k : k + 1]
    row.write(s.intervals, k, k + 1, bounds.gather(1, values) << 32 | bounds.gather(1, values + 1))
    row.write(s.image, k, k + 1, s.scaled[values])


def _decode(row: EagerRow, s: Decode) -> None:
    _write_value(row, s, s.streams.decode(cumulative(_logits(row, s)), row.read(s.known)[:, s.colour]))


def _logits(row: EagerRow, s: Draw | Encode | Decode) -> Tensor:
    return row.read(s.logits).unflatten(1, (s.image.shape[2], -1))[:, s.colour]


def _write_value(row: EagerRow, s: Draw | Decode, new: Tensor) -> None:
    """Writes the value of a pixel, and the scaled value that the network reads.

    A known value stays as it is. An unknown value becomes ``new``.
    """
    k = s.colour
    value = torch.where(row.read(s.known)[:, k], row.read(s.values)[:, k], new)
    row.write(s.values, k, k + 1, value[:, None])
    row.write(s.image, k, k + 1, s.scaled[value][:, None])


_RUN: Any = {Linear: _linear, CellStep: _cell, Pointwise: _pointwise, Draw: _draw, Encode: _encode, Decode: _decode}
