"""The steps of a whole row in one call of a compiled operator (csrc/operators/columns.cpp), on a CPU."""

import torch
from torch import Tensor

from ..operators import columns
from .rows import Rows
from .steps import CellStep, Step, Tap
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
            self._emit(step)

    def run(self) -> None:
        if self.code:
            options = {} if self.streams is None else dict(streams=self.streams.state, data=self.streams.data)
            on_grid = self.rows.grid is not None
            columns.run_columns(
                self.tensors, self.code, self.rows.margin, temperature=self.temperature, on_grid=on_grid, **options
            )

    def _emit(self, step: Step) -> None:
        """Appends a step to the program: its name, its fields in their order, then its taps.

        Temperature and streams are no words of a program. They are the same for all of its steps.
        """
        fields = step._asdict()
        taps = fields.pop("taps", None)
        self.temperature = fields.pop("temperature", self.temperature)
        self.streams = fields.pop("streams", self.streams)
        self.code.append(columns.step(type(step).__name__.removesuffix("Step").lower()))
        self.code += [int(value) if isinstance(value, int) else self._index(value) for value in fields.values()]
        if taps is not None:
            self._emit_taps(taps, 4 if isinstance(step, CellStep) else 1, fields["stop"] - fields["start"])

    def _index(self, tensor: Tensor | None) -> int:
        """Where a tensor is in the list; -1 of None."""
        if tensor is None:
            return -1
        for i, other in enumerate(self.tensors):
            if other is tensor:
                return i
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _emit_taps(self, taps: list[Tap], gates: int, outputs: int) -> None:
        block = columns.block(gates, self.rows.dtype)
        self.code += [self._index(_pack(taps, gates, outputs, block, self.rows.dtype)), block, len(taps)]
        for tap in taps:
            self.code += [self._index(tap.input), tap.shift, tap.channels]


def _pack(taps: list[Tap], gates: int, outputs: int, block: int, dtype: torch.dtype) -> Tensor:
    """[blocks][all channels][gates][outputs of a block for each gate], zeros behind the last output."""
    weight = torch.cat([torch.zeros(0, gates * outputs, dtype=dtype, device="cpu"), *(tap.weight for tap in taps)])
    padded = torch.nn.functional.pad(weight.unflatten(1, (gates, outputs)), (0, -outputs % block))
    return padded.unflatten(2, (-1, block)).permute(2, 0, 1, 3).contiguous()
