"""The steps of a whole row in one call of a compiled operator (csrc/operators/columns.cpp), on a CPU."""

import torch
from torch import Tensor

from ..operators import columns
from .rows import Rows
from .steps import CellStep, Decode, Draw, Encode, Linear, Pointwise, Step, Tap
from .streams import Streams


class NativeRow:
    """Runs the steps at the columns of a row. Programs are lists of integers, see csrc/cpu/column_program.h."""

    rows: Rows
    tensors: list[Tensor]
    code: list[int]
    temperature: float
    streams: Streams | None

    def __init__(self, rows: Rows, steps: list[Step]) -> None:
        self.rows = rows
        self.tensors, self.code = [], []
        self.temperature, self.streams = 1.0, None
        for step in steps:
            _emit(self, step)

    def run(self) -> None:
        if self.code:
            options = {} if self.streams is None else dict(streams=self.streams.state, data=self.streams.data)
            on_grid = self.rows.grid is not None
            columns.run_columns(
                self.tensors, self.code, self.rows.margin, temperature=self.temperature, on_grid=on_grid, **options
            )

    def index(self, tensor: Tensor | None) -> int:
        """Where a tensor is in the list; -1 of None."""
        if tensor is None:
            return -1
        for i, other in enumerate(self.tensors):
            if other is tensor:
                return i
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def emit(self, kind: str, *values: int | Tensor | None) -> None:
        self.code += [columns.step(kind), *(v if isinstance(v, int) else self.index(v) for v in values)]

    def emit_taps(self, taps: list[Tap], gates: int, outputs: int) -> None:
        block = columns.block(gates, self.rows.dtype)
        self.code += [self.index(_pack(taps, gates, outputs, block, self.rows.dtype)), block, len(taps)]
        for tap in taps:
            self.code += [self.index(tap.input), tap.shift, tap.channels]


def _pack(taps: list[Tap], gates: int, outputs: int, block: int, dtype: torch.dtype) -> Tensor:
    """[blocks][all channels][gates][outputs of a block for each gate], zeros behind the last output."""
    weight = torch.cat([torch.zeros(0, gates * outputs, dtype=dtype, device="cpu"), *(tap.weight for tap in taps)])
    padded = torch.nn.functional.pad(weight.unflatten(1, (gates, outputs)), (0, -outputs % block))
    return padded.unflatten(2, (-1, block)).permute(2, 0, 1, 3).contiguous()


def _linear(row: NativeRow, s: Linear) -> None:
    row.emit("linear", s.base, s.output, s.start, s.stop, int(s.relu))
    row.emit_taps(s.taps, 1, s.stop - s.start)


def _cell(row: NativeRow, s: CellStep) -> None:
    row.emit("cell", s.base, s.carried, s.shift, s.c, s.h, s.addend, s.output, s.start, s.stop)
    row.emit_taps(s.taps, 4, s.stop - s.start)


def _pointwise(row: NativeRow, s: Pointwise) -> None:
    row.emit("pointwise", s.left, s.right, s.output, s.start, s.stop, int(s.relu))


def _draw(row: NativeRow, s: Draw) -> None:
    row.emit("draw", s.logits, s.uniform, s.known, s.values, s.scaled, s.image, s.colour)
    row.temperature = s.temperature


def _encode(row: NativeRow, s: Encode) -> None:
    row.emit("encode", s.logits, s.values, s.intervals, s.scaled, s.image, s.colour)


def _decode(row: NativeRow, s: Decode) -> None:
    row.emit("decode", s.logits, s.known, s.values, s.scaled, s.image, s.colour)
    row.streams = s.streams


def _emit(row: NativeRow, step: Step) -> None:
    match step:
        case Linear():
            _linear(row, step)
        case CellStep():
            _cell(row, step)
        case Pointwise():
            _pointwise(row, step)
        case Draw():
            _draw(row, step)
        case Encode():
            _encode(row, step)
        case Decode():
            _decode(row, step)
