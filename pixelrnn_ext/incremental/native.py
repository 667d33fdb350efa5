"""Runs the steps of a whole row in one call of a compiled operator (csrc/operators/columns.cpp), on a CPU."""

import torch
from torch import Tensor

from ..operators import columns
from .range_coder import Streams
from .rows import Rows
from .steps import CellStep, Step, Tap


class NativeRow:
    """Compiles steps to a list of integers (csrc/cpu/column_program.h), and runs it at each column of a row."""

    def __init__(self, rows: Rows, steps: list[Step]) -> None:
        self._rows = rows
        self._tensors: list[Tensor] = []
        self._code: list[int] = []
        self._temperature = 1.0
        self._streams: Streams | None = None
        for step in steps:
            self._emit(step)

    def run(self) -> None:
        if self._code:
            on_grid, streams = self._rows.grid is not None, self._streams or (None, None)
            torch.ops.pixelrnn_ext.run_columns(
                self._tensors, self._code, self._rows.margin, self._temperature, on_grid, *streams
            )

    def _emit(self, step: Step) -> None:
        """Appends a step to the program: its kind, fields and taps. All steps have the same temperature and streams."""
        fields = step._asdict()
        taps = fields.pop("taps", None)
        self._temperature = fields.pop("temperature", self._temperature)
        self._streams = fields.pop("streams", self._streams)
        self._code.append(columns.step_code(type(step).__name__.removesuffix("Step").lower()))
        self._code += [int(value) if isinstance(value, int) else self._index(value) for value in fields.values()]
        if taps is not None:
            self._emit_taps(taps, 4 if isinstance(step, CellStep) else 1, fields["stop"] - fields["start"])

    def _index(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        for i, other in enumerate(self._tensors):
            if other is tensor:
                return i
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _emit_taps(self, taps: list[Tap], gates: int, outputs: int) -> None:
        block = columns.block_width(gates, self._rows.dtype)
        self._code += [self._index(_pack(taps, gates, outputs, block, self._rows.dtype)), block, len(taps)]
        for tap in taps:
            self._code += [self._index(tap.input), tap.shift, tap.channels]


def _pack(taps: list[Tap], gates: int, outputs: int, block: int, dtype: torch.dtype) -> Tensor:
    """Packs all taps' weights as [blocks][channels of all taps][gates][outputs of a block], padded with zeros."""
    weight = torch.cat([torch.zeros(0, gates * outputs, dtype=dtype, device="cpu"), *(tap.weight for tap in taps)])
    padded = torch.nn.functional.pad(weight.unflatten(1, (gates, outputs)), (0, -outputs % block))
    return padded.unflatten(2, (-1, block)).permute(2, 0, 1, 3).contiguous()
