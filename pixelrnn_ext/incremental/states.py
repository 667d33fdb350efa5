"""What each layer remembers of an image while it is made row by row, and its output at a pixel given the pixels before.

A state has an ``output`` buffer. ``begin_row`` computes everything that comes from the rows above, for the whole row at once;
``steps`` are what is left for a pixel and a colour; ``end_row`` keeps what later rows read. Rows are counted from 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import functional
from ..masks import colour_range, masked_weight
from .rows import Rows
from .steps import Cell, Linear, Step, Tap


class MaskedConvState:
    """Keeps the kernel_size // 2 rows of the input above."""

    def __init__(self, layer, rows: Rows, input: Tensor):
        self.rows, self.input, self.layer = rows, input, layer
        weight = layer.weight.detach().to(rows.dtype)
        self.weight = masked_weight(weight, layer.mask_type, image_channels=layer.image_channels)
        self.bias = None if layer.bias is None else layer.bias.detach().to(rows.dtype)
        above = layer.kernel_size[0] // 2
        self.above = torch.zeros(rows.images, layer.in_channels, above, rows.width, dtype=rows.dtype, device=rows.device)
        self.base = rows.bordered(layer.out_channels, self.bias)
        self.output = rows.buffer(layer.out_channels)

    def begin_row(self, row: int) -> None:
        height, width = self.layer.kernel_size
        if row > 0 and height > 1:
            y = F.conv2d(self.above, self.weight[:, :, : height // 2], self.bias, padding=(0, width // 2))
            self.rows.fill(self.base, y)

    def steps(self, colour: int) -> list[Step]:
        layer = self.layer
        height, width = layer.kernel_size
        start, stop = colour_range(layer.out_channels, layer.image_channels, colour)
        weight = self.weight[start:stop, :, height // 2]
        taps = _row_taps(self.input, weight, layer.mask_type, layer.image_channels, colour)
        return [Linear(taps, self.base, self.output, start, stop, layer.activation == "relu")]

    def end_row(self, row: int) -> None:
        if self.layer.kernel_size[0] > 1:
            self.above = torch.cat([self.above[:, :, 1:], self.rows.map(self.input)], 2)


class RowLSTMState:
    """Keeps h and c of the row above."""

    def __init__(self, layer, rows: Rows, input: Tensor, gate_bias: Tensor | None):
        self.rows, self.gate_bias = rows, gate_bias
        self.direction = _Direction(layer, "", rows, input)
        self.output = rows.bordered(layer.hidden_channels, self.direction.h0)
        self.c_above = rows.buffer(layer.hidden_channels)
        self.no_addend = rows.buffer(layer.hidden_channels)

    def begin_row(self, row: int) -> None:
        d, rows = self.direction, self.rows
        taps = d.weight_hh.shape[2]
        above = rows.map(self.output).squeeze(2)
        if taps > 1:
            border = above.new_zeros(d.hidden) if d.h0 is None else d.h0
            border = border[:, None].expand(rows.images, -1, taps // 2)
            above = torch.cat([border, above, border], 2)
        gates = F.conv1d(above, d.weight_hh, d.bias).unsqueeze(2)
        rows.fill(d.base, gates + _row_of(self.gate_bias, row))
        self.c_above.copy_(d.c)

    def steps(self, colour: int) -> list[Step]:
        d = self.direction
        taps, output = d.input_taps(colour), self.output
        return [Cell(taps, d.base, self.c_above, 0, d.c, output, self.no_addend, output, *d.units(colour))]

    def end_row(self, row: int) -> None:
        pass


class DiagonalBiLSTMState:
    """The left-to-right direction goes along with the pixels; the other one runs over a row once that is complete."""

    def __init__(self, layer, rows: Rows, input: Tensor, gate_bias: Tensor | None):
        self.layer, self.rows, self.input = layer, rows, input
        self.gate_bias, self.gate_bias_reverse = (None, None) if gate_bias is None else gate_bias.chunk(2, 1)
        self.left, self.right = (_Direction(layer, suffix, rows, input) for suffix in ("", "_reverse"))
        self.h = rows.bordered(layer.hidden_channels, self.left.h0)
        self.right_above = rows.buffer(layer.hidden_channels)
        self.output = rows.buffer(layer.hidden_channels)

    def begin_row(self, row: int) -> None:
        d = self.left
        gates = F.conv1d(self.rows.map(self.h).squeeze(2), d.weight_hh[:, :, :1], d.bias).unsqueeze(2)
        self.rows.fill(d.base, gates + _row_of(self.gate_bias, row))

    def steps(self, colour: int) -> list[Step]:
        d = self.left
        start, stop = d.units(colour)
        gates = d.weight_hh[:, :, 1].unflatten(0, (4, -1))[:, start:stop]
        taps = [*d.input_taps(colour), Tap(self.h, -1, d.hidden, gates.flatten(0, 1).t())]
        return [Cell(taps, d.base, d.c, -1, d.c, self.h, self.right_above, self.output, start, stop)]

    def end_row(self, row: int) -> None:
        # One row through the ordinary layer: what the row above adds to the gates goes in as a bias.
        d, rows, layer = self.right, self.rows, self.layer
        above = rows.map(self.right_above).squeeze(2)
        if row == 0 and d.h0 is not None:
            above = d.h0[:, None].expand_as(above)
        gates = F.conv1d(above, d.weight_hh[:, :, :1]).unsqueeze(2) + _row_of(self.gate_bias_reverse, row)
        along = d.weight_hh * d.weight_hh.new_tensor([0, 1])
        h = functional.diagonal_lstm(
            rows.map(self.input),
            d.weight_ih,
            along,
            d.bias,
            d.h0,
            d.c0,
            mask_type=layer.mask_type,
            image_channels=layer.image_channels,
            gate_bias=gates,
            reverse=True,
            backend=layer.backend,
        )
        rows.fill(self.right_above, h)


class _Direction:
    """Parameters of one scan in the run's dtype, its buffers, and what its cells read of the input."""

    def __init__(self, layer, suffix: str, rows: Rows, input: Tensor):
        def parameter(name):
            value = getattr(layer, name + suffix)
            return None if value is None else value.detach().to(rows.dtype)

        self.layer, self.input, self.hidden = layer, input, layer.hidden_channels
        self.weight_ih, self.weight_hh, self.bias = parameter("weight_ih"), parameter("weight_hh"), parameter("bias")
        self.h0, self.c0 = parameter("h0"), parameter("c0")
        self.base = rows.buffer(4 * self.hidden)
        self.c = rows.bordered(self.hidden, self.c0)

    def units(self, colour: int) -> tuple[int, int]:
        return colour_range(self.hidden, self.layer.image_channels, colour)

    def input_taps(self, colour: int) -> list[Tap]:
        layer, (start, stop) = self.layer, self.units(colour)
        weight = masked_weight(self.weight_ih, layer.mask_type, image_channels=layer.image_channels, gates=4)[:, :, 0]
        weight = weight.unflatten(0, (4, -1))[:, start:stop].flatten(0, 1)
        return _row_taps(self.input, weight, layer.mask_type, layer.image_channels, colour)


def _row_taps(input: Tensor, weight: Tensor, mask_type: str, image_channels: int, colour: int) -> list[Tap]:
    """What the outputs of a colour read of the row: weight (outputs, channels, kernel width)."""
    channels, width = weight.shape[1:]
    taps = [Tap(input, k - width // 2, channels, weight[:, :, k].t()) for k in range(width // 2)]
    before, own = colour_range(channels, image_channels, colour)
    alive = own if mask_type == "B" else before
    centre = Tap(input, 0, alive, weight[:, :alive, width // 2].t())
    return [*taps, centre] if alive else taps


def _row_of(map: Tensor | None, row: int) -> Tensor | int:
    """One row of a map whose height may be 1, (N, channels, 1, W or 1)."""
    if map is None:
        return 0
    row = min(row, map.shape[2] - 1)
    return map[:, :, row : row + 1]
