"""Runs the steps of a whole row in one call of a compiled operator (csrc/operators/columns.cpp)."""

from ..operators import columns
from .program import Program
from .rows import Rows
from .steps import Step


class NativeRow:
    """Compiles steps, and runs them at each column of a row."""

    def __init__(self, rows: Rows, steps: list[Step]) -> None:
        self._rows = rows
        self._program = Program(rows)
        self._code = self._program.compile_steps(steps)

    def run(self) -> None:
        if self._code:
            program, on_grid = self._program, self._rows.grid is not None
            streams = program.streams or (None, None)
            columns.run(program.tensors, self._code, self._rows.margin, program.temperature, on_grid, *streams)
