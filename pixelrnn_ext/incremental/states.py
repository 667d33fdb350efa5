"""What each layer remembers of an image while it is made row by row, and its output at a pixel given the pixels before.

A state has an ``output`` buffer. ``begin_row`` computes everything that comes from the rows above, for the whole row at once;
``steps`` are what is left for a pixel and a colour; ``end_row`` keeps what later rows read. A layer that goes over the complete row
from right to left, on mirrored buffers, has ``mirrored_steps``, which are run after ``end_row``. Rows are counted from 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

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
        self.scan = _Scan(layer, "", rows, input, gate_bias)
        self.rows, self.output = rows, self.scan.h
        self.c_above = rows.buffer(layer.hidden_channels)

    def begin_row(self, row: int) -> None:
        scan, rows = self.scan, self.rows
        taps = scan.weight_hh.shape[2]
        border = scan.h0.expand(taps // 2, rows.images, -1)
        above = torch.cat([border, self.output[rows.margin :], border])
        scan.begin_row(row, [(above[k : k + rows.width], k) for k in range(taps)])
        self.c_above.copy_(scan.c)

    def steps(self, colour: int) -> list[Step]:
        return self.scan.steps(colour, [], self.c_above, 0, self.scan.zeros, self.output)

    def end_row(self, row: int) -> None:
        pass


class DiagonalBiLSTMState:
    """The left-to-right direction goes along with the pixels; the other one runs over a row once that is complete, on a mirrored copy."""

    def __init__(self, layer, rows: Rows, input: Tensor, gate_bias: Tensor | None):
        bias, bias_reverse = (None, None) if gate_bias is None else gate_bias.chunk(2, 1)
        self.rows, self.input, self.image_channels = rows, input, layer.image_channels
        self.mirrored = rows.buffer(layer.in_channels)
        self.left = _Scan(layer, "", rows, input, bias)
        self.right = _Scan(layer, "_reverse", rows, self.mirrored, None if bias_reverse is None else bias_reverse.flip(3))
        self.right_above = rows.buffer(layer.hidden_channels)
        self.output = rows.buffer(layer.hidden_channels)

    def begin_row(self, row: int) -> None:
        if row > 0:
            self.right_above[self.rows.margin :] = self.right.h[self.rows.margin :].flip(0)
        self._begin(self.left, row)

    def _begin(self, scan, row):
        scan.begin_row(row, [(scan.h[self.rows.margin :], 0)])

    def steps(self, colour: int) -> list[Step]:
        return self._steps(self.left, colour, self.right_above, self.output)

    def _steps(self, scan, colour, addend, output):
        return scan.steps(colour, [(scan.h, -1, 1)], scan.c, -1, addend, output)

    def end_row(self, row: int) -> None:
        self.mirrored[self.rows.margin :] = self.input[self.rows.margin :].flip(0)
        self._begin(self.right, row)

    def mirrored_steps(self) -> list[Step]:
        right = self.right
        return [s for colour in range(self.image_channels) for s in self._steps(right, colour, right.zeros, right.h)]


class _Scan:
    """Parameters of one direction in the run's dtype, its buffers, and what its cells read."""

    def __init__(self, layer, suffix: str, rows: Rows, input: Tensor, gate_bias: Tensor | None):
        def parameter(name):
            value = getattr(layer, name + suffix)
            return None if value is None else value.detach().to(rows.dtype)

        self.layer, self.rows, self.input, self.gate_bias = layer, rows, input, gate_bias
        self.hidden = layer.hidden_channels
        weight_ih = masked_weight(parameter("weight_ih"), layer.mask_type, image_channels=layer.image_channels, gates=4)
        self.weight_ih, self.weight_hh = weight_ih[:, :, 0], parameter("weight_hh")
        self.bias, self.zeros = parameter("bias"), rows.buffer(self.hidden)
        h0, c0 = parameter("h0"), parameter("c0")
        self.h0 = self.zeros.new_zeros(self.hidden) if h0 is None else h0
        self.base = rows.bordered(4 * self.hidden, self.bias)
        self.h, self.c = rows.bordered(self.hidden, h0), rows.bordered(self.hidden, c0)

    def begin_row(self, row: int, above: list[tuple[Tensor, int]]) -> None:
        """What every cell's gates get from outside the row: bias, condition, and the columns of states ``above`` by the tap that reads them."""
        base = self.base[self.rows.margin :]
        base.copy_(self.bias) if self.bias is not None else base.zero_()
        if self.gate_bias is not None:
            base += rows_of(self.gate_bias, row).squeeze(2).permute(2, 0, 1)
        for h, tap in above:
            base.flatten(0, 1).addmm_(h.flatten(0, 1), self.weight_hh[:, :, tap].t())

    def steps(self, colour: int, taps: list[tuple[Tensor, int, int]], carried: Tensor, shift: int, addend, output) -> list[Step]:
        """The cell of the units of a colour, whose state-to-state taps in the row are (buffer, shift, tap)."""
        start, stop = colour_range(self.hidden, self.layer.image_channels, colour)

        def of_units(weight):  # (4 * hidden, ...) -> (4 * units, ...)
            return weight.unflatten(0, (4, -1))[:, start:stop].flatten(0, 1)

        read = _row_taps(self.input, of_units(self.weight_ih), self.layer.mask_type, self.layer.image_channels, colour)
        read += [Tap(buffer, at, self.hidden, of_units(self.weight_hh[:, :, k]).t()) for buffer, at, k in taps]
        return [Cell(read, self.base, carried, shift, self.c, self.h, addend, output, start, stop)]


def _row_taps(input: Tensor, weight: Tensor, mask_type: str, image_channels: int, colour: int) -> list[Tap]:
    """What the outputs of a colour read of the row: weight (outputs, channels, kernel width)."""
    channels, width = weight.shape[1:]
    taps = [Tap(input, k - width // 2, channels, weight[:, :, k].t()) for k in range(width // 2)]
    before, own = colour_range(channels, image_channels, colour)
    alive = own if mask_type == "B" else before
    centre = Tap(input, 0, alive, weight[:, :alive, width // 2].t())
    return [*taps, centre] if alive else taps


def rows_of(map: Tensor, row: int) -> Tensor:
    """One row of a map whose height may be 1, (N, channels, 1, W or 1)."""
    row = min(row, map.shape[2] - 1)
    return map[:, :, row : row + 1]
