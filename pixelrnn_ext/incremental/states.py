"""The states that layers keep while a network runs row by row, and the layers' steps.

A state takes the arguments of the layer's function in functional.py, and writes to its ``output`` buffer. Its methods
return steps. ``before_row`` returns row steps that compute the contribution of the rows above. ``steps`` returns steps
that add the contribution of the current row for one pixel and colour. ``after_row`` returns row steps that store what
later rows and ``mirrored_steps`` read. ``mirrored_steps`` run on mirrored buffers, for layers that scan the complete
row from right to left.
"""

import itertools
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

from torch import Tensor

from ..directions import Direction2d
from ..masks import Mask, colour_range, masked_weight
from .row_steps import Product, RowCopy, RowStep, RowSum
from .rows import Rows
from .steps import CellStep, Linear, Pointwise, Step, Tap


class State(ABC):
    """State of a layer. Only a state with ``after_row`` stores something after a row."""

    output: Tensor

    @abstractmethod
    def before_row(self) -> list[RowStep]: ...

    @abstractmethod
    def steps(self, colour: int) -> list[Step]: ...

    def after_row(self) -> list[RowStep]:
        return []

    def mirrored_steps(self) -> list[Step]:
        return []


class PointwiseState(State):
    """State of a ReLU or a sum. An operand is a buffer (3 dimensions) or an image-independent map (4 dimensions)."""

    def __init__(self, operands: list[Tensor], rows: Rows, image_channels: int, relu: bool) -> None:
        self._rows, self._image_channels, self._relu = rows, image_channels, relu
        channels = max(operand.shape[1] if operand.dim() == 4 else operand.shape[2] for operand in operands)
        self._operands = [rows.buffer(channels) if operand.dim() == 4 else operand for operand in operands]
        self._maps = [(buffer, map) for buffer, map in zip(self._operands, operands) if map.dim() == 4]
        self.output: Tensor = rows.buffer(channels)

    def before_row(self) -> list[RowStep]:
        return [RowSum(self._rows.within(buffer), map=map) for buffer, map in self._maps]

    def steps(self, colour: int) -> list[Step]:
        left, *others = self._operands
        right = others[0] if others else None
        start, stop = colour_range(self.output.shape[2], self._image_channels, colour)
        return [Pointwise(left, right, self.output, start, stop, self._relu)]


class MaskedConvState(State):
    """State of a masked convolution: the kernel height // 2 input rows above the current row."""

    def __init__(self, rows: Rows, input: Tensor, *, weight: Tensor, bias: Tensor | None, **options: Any) -> None:
        self._mask = mask = Mask(options["mask_type"], options["image_channels"], options["gates"])
        if mask.gates != 1:
            expected = "a masked convolution with gates=1 to run it pixel by pixel"
            raise ValueError(f"expected {expected}, got gates={mask.gates}")
        self._rows, self._input, self._relu = rows, input, options["activation"] == "relu"
        weight = weight.detach().to(rows.dtype)
        weight = masked_weight(weight, mask.mask_type, image_channels=mask.image_channels)
        outputs, channels, height, width = weight.shape
        self._weight = weight[:, :, height // 2]
        columns = rows.width + 2 * (width // 2)
        self._above = [(_taps_first(weight[:, :, i]), rows.columns(columns, channels)) for i in range(height // 2)]
        self._bias = rows.vector(outputs, bias)
        self._base = rows.buffer(outputs, initial=self._bias)
        self.output: Tensor = rows.buffer(outputs)

    def before_row(self) -> list[RowStep]:
        products = [Product(input_row, weight) for weight, input_row in self._above]
        return [RowSum(self._rows.within(self._base), self._bias, products=products)] if products else []

    def steps(self, colour: int) -> list[Step]:
        start, stop = colour_range(self.output.shape[2], self._mask.image_channels, colour)
        taps = _row_taps(self._input, self._weight[start:stop], self._mask, colour)
        return [Linear(taps, self._base, self.output, start, stop, self._relu)]

    def after_row(self) -> list[RowStep]:
        rows = [input_row for _, input_row in self._above]
        steps: list[RowStep] = [RowCopy(upper, lower) for upper, lower in itertools.pairwise(rows)]
        if rows:
            side = self._weight.shape[2] // 2
            steps.append(RowCopy(rows[-1][side : side + self._rows.width], self._rows.within(self._input)))
        return steps


class RowLSTMState(State):
    """State of a Row LSTM: h and c of the row above."""

    def __init__(self, rows: Rows, input: Tensor, **options: Any) -> None:
        (self._scan,) = _scans(rows, input, **options)
        self._rows, scan = rows, self._scan
        self._side = scan.weight_hh.shape[2] // 2
        self._h_above = rows.columns(rows.width + 2 * self._side, scan.hidden, initial=scan.h0)
        self._c_above, self._zeros = rows.buffer(scan.hidden), rows.buffer(scan.hidden)
        # The output is the buffer of h. The output's margin, the columns to the left of the image, must be zero.
        # Zeros there do not disturb the scan, because no step reads h in the margin.
        self.output: Tensor = scan.h
        self.output[: rows.margin] = 0

    def before_row(self) -> list[RowStep]:
        within, scan = self._rows.within, self._scan
        inside = self._h_above[self._side : self._side + self._rows.width]
        above = Product(self._h_above, _taps_first(scan.weight_hh))
        return [RowCopy(inside, within(scan.h)), RowCopy(within(self._c_above), within(scan.c)), scan.row_sum([above])]

    def steps(self, colour: int) -> list[Step]:
        return self._scan.steps(colour, self._c_above, 0, self._zeros, self.output)


class DiagonalBiLSTMState(State):
    """State of a Diagonal BiLSTM. Its right-to-left scan runs over a mirrored copy of each complete row."""

    def __init__(self, rows: Rows, input: Tensor, **options: Any) -> None:
        self._rows = rows
        self._left, self._right = _scans(rows, input, rows.buffer(input.shape[2]), **options)
        # Both buffers hold h of the right-to-left scan in the row above: the first buffer in the order of the scan, the
        # second from left to right. The buffers are 0 before row 0.
        self._mirrored_above, self._right_above = rows.buffer(self._left.hidden), rows.buffer(self._left.hidden)
        self._zeros = rows.buffer(self._left.hidden)
        self.output: Tensor = rows.buffer(self._left.hidden)

    def before_row(self) -> list[RowStep]:
        within = self._rows.within
        mirrored = RowCopy(within(self._right_above), within(self._mirrored_above), mirrored=True)
        return [mirrored, self._left.row_sum([self._left.above()])]

    def steps(self, colour: int) -> list[Step]:
        return self._left.steps(colour, self._left.c, -1, self._right_above, self.output)

    def after_row(self) -> list[RowStep]:
        within, right = self._rows.within, self._right
        mirrored = RowCopy(within(right.input), within(self._left.input), mirrored=True)
        return [mirrored, right.row_sum([right.above(), Product(within(right.input), _taps_first(right.weight_ih))])]

    def mirrored_steps(self) -> list[Step]:
        right, output = self._right, self._mirrored_above
        before = Tap(right.h, -1, right.hidden, _taps_first(right.weight_hh)[1])
        return [CellStep([before], right.base, right.c, -1, right.c, right.h, self._zeros, output, 0, right.hidden)]


def _scans(
    rows: Rows, *inputs: Tensor, mask_type: str | None, gate_bias: Tensor | None, image_channels: int, **options: Any
) -> list["_Scan"]:
    """``inputs`` has the row and, for a second direction, the mirrored row."""
    if mask_type is None:
        raise ValueError("expected a layer with mask_type 'A' or 'B' to run it pixel by pixel, got mask_type=None")
    mask = Mask(mask_type, image_channels, 4)
    scans = []
    for i, (input, suffix) in enumerate(zip(inputs, ("", "_reverse"))):
        parameters: Any = (options.get(name + suffix) for name in Direction2d._fields)
        bias = None
        if gate_bias is not None:
            bias = gate_bias.chunk(len(inputs), 1)[i]
            bias = rows.derived(partial(bias.flip, 3)) if suffix else bias
        scans.append(_Scan(rows, input, Direction2d(*parameters), mask, bias))
    return scans


class _Scan:
    """One direction of a recurrent layer: its parameters, in the dtype of ``rows``, and its buffers."""

    def __init__(self, rows: Rows, input: Tensor, direction: Direction2d, mask: Mask, gate_bias: Tensor | None) -> None:
        weight_ih, weight_hh = (weight.detach().to(rows.dtype) for weight in direction[:2])
        self.rows, self.input, self.mask, self.gate_bias = rows, input, mask, gate_bias
        self.hidden = weight_hh.shape[1]
        weight_ih = masked_weight(weight_ih, mask.mask_type, image_channels=mask.image_channels, gates=mask.gates)
        self.weight_ih, self.weight_hh = weight_ih[:, :, 0], weight_hh
        self.base = rows.buffer(4 * self.hidden)
        self.bias, self.h0 = rows.vector(4 * self.hidden, direction.bias), rows.vector(self.hidden, direction.h0)
        # In the row above the image, every pixel has the initial h and c.
        self.h = rows.buffer(self.hidden, initial=self.h0)
        self.c = rows.buffer(self.hidden, initial=rows.vector(self.hidden, direction.c0))

    def above(self) -> Product:
        """Returns the product of a diagonal scan's weights with h of the pixel above."""
        return Product(self.rows.within(self.h), _taps_first(self.weight_hh[:, :, :1]))

    def row_sum(self, products: list[Product]) -> RowSum:
        return RowSum(self.rows.within(self.base), self.bias, self.gate_bias, products)

    def steps(self, colour: int, carried: Tensor, shift: int, addend: Tensor, output: Tensor) -> list[Step]:
        """Returns a colour's cell step. Unless ``shift`` is 0, it also reads h of the pixel ``shift`` columns away."""
        units = colour_range(self.hidden, self.mask.image_channels, colour)

        def select_units(weight: Tensor) -> Tensor:  # (4 * hidden, ...) -> (4 * units, ...)
            return weight.unflatten(0, (4, -1))[:, slice(*units)].flatten(0, 1)

        read = _row_taps(self.input, select_units(self.weight_ih), self.mask, colour)
        if shift:
            read.append(Tap(self.h, shift, self.hidden, _taps_first(select_units(self.weight_hh))[1]))
        return [CellStep(read, self.base, carried, shift, self.c, self.h, addend, output, *units)]


def _row_taps(input: Tensor, weight: Tensor, mask: Mask, colour: int) -> list[Tap]:
    """Returns the taps with which a colour reads the current row. weight is (outputs, channels, kernel width)."""
    channels, width = weight.shape[1:]
    if channels != input.shape[2]:
        raise ValueError(f"expected an input of {channels} channels, got {input.shape[2]}")
    weight = _taps_first(weight)
    taps = [Tap(input, k - width // 2, channels, weight[k]) for k in range(width // 2)]
    start, stop = colour_range(channels, mask.image_channels, colour)
    visible = stop if mask.mask_type == "B" else start
    return [*taps, Tap(input, 0, visible, weight[width // 2, :visible])] if visible else taps


def _taps_first(weight: Tensor) -> Tensor:
    """Permutes (outputs, channels, taps) to (taps, channels, outputs)."""
    return weight.permute(2, 1, 0).contiguous()
