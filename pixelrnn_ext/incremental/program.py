"""Compiles steps and row steps to programs: lists of integers, which csrc/columns parses."""

import torch
from torch import Tensor

from ..operators import columns
from .range_coder import Streams
from .row_steps import RowCopy, RowStep, RowSum
from .rows import Rows
from .steps import CellStep, Step, Tap


class Program:
    """Compiles steps to programs, which share tensors, temperature (of draw steps) and streams (of decode steps)."""

    def __init__(self, rows: Rows) -> None:
        self.tensors: list[Tensor] = []
        self.temperature: float = 1.0
        self.streams: Streams | None = None
        self._rows = rows
        self._packed: list[Tensor] = []

    def has_finite_weights(self) -> bool:
        """Returns whether all weights of the compiled steps are finite. This waits for the GPU."""
        weights = [packed.flatten() for packed in self._packed]
        return bool(torch.cat(weights).isfinite().all()) if weights else True

    def compile_steps(self, steps: list[Step]) -> list[int]:
        """Returns the program of steps that run at each column (csrc/columns/program.h)."""
        return [number for step in steps for number in self._step(step)]

    def compile_row_steps(self, steps: list[RowStep]) -> list[int]:
        """Returns the program of row steps (csrc/columns/row_program.h)."""
        return [number for step in steps for number in self._row_step(step)]

    def _step(self, step: Step) -> list[int]:
        fields = step._asdict()
        taps = fields.pop("taps", None)
        self.temperature = fields.pop("temperature", self.temperature)
        self.streams = fields.pop("streams", self.streams)
        code = [columns.step_code(type(step).__name__.removesuffix("Step").lower())]
        code += [int(value) if isinstance(value, int) else self._index(value) for value in fields.values()]
        if taps is not None:
            code += self._taps(taps, 4 if isinstance(step, CellStep) else 1, fields["stop"] - fields["start"])
        return code

    def _taps(self, taps: list[Tap], gates: int, outputs: int) -> list[int]:
        block = columns.block_width(gates, self._rows.dtype, self._rows.capability is not None)
        packed = self._pack([tap.weight for tap in taps], gates, outputs, block)
        code = [self._index(packed), block, len(taps)]
        for tap in taps:
            code += [self._index(tap.input), tap.shift, tap.channels]
        return code

    def _row_step(self, step: RowStep) -> list[int]:
        if isinstance(step, RowCopy):
            return [1, self._index(step.output), self._index(step.source), int(step.mirrored)]
        assert isinstance(step, RowSum)
        width, _, outputs = step.output.shape
        taps = [(row[k : k + width], tap) for row, weight in step.products for k, tap in enumerate(weight)]
        # The kernel's lanes read neighbouring blocks of one channel together.
        packed = self._pack([weight for _, weight in taps], 1, outputs, 4).squeeze(2).transpose(0, 1).contiguous()
        values = None if step.map is None else self._rows.derived(step.map.contiguous)
        bias = None if step.bias is None else step.bias.contiguous()
        operands = [step.output, bias, values, packed if taps else None]
        return [0, *map(self._index, operands), len(taps), *(self._index(source) for source, _ in taps)]

    def _index(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        for i, other in enumerate(self.tensors):
            if other is tensor:
                return i
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _pack(self, weights: list[Tensor], gates: int, outputs: int, block: int) -> Tensor:
        """Packs weights (channels, gates * outputs) into blocks of ``block`` outputs.

        The result is [outputs / block][channels of all weights][gates][block]. Zeros fill up the last block.
        """
        none = torch.zeros(0, gates * outputs, dtype=self._rows.dtype, device=self._rows.device)
        weight = torch.cat([none, *weights]).unflatten(1, (gates, outputs))
        padded = torch.nn.functional.pad(weight, (0, -outputs % block))
        self._packed.append(padded.unflatten(2, (-1, block)).permute(2, 0, 1, 3).contiguous())
        return self._packed[-1]
