"""Runs the steps of a whole row on a GPU by replaying one CUDA graph."""

import torch

from ..operators import columns
from .graph import capture
from .native import NativeRow
from .rows import Rows
from .steps import Step

# A node of a CUDA graph takes about 4 kB of the driver's memory. A row with more than _MAX_NODES launches gets no
# graph.
_MAX_NODES = 2**14


class GpuRow(NativeRow):
    """Compiles a row's steps to launches of a kernel (csrc/cuda/sampler/columns.h), and captures them as a CUDA graph.

    At each column, one launch runs steps that do not depend on each other, for all images. ``launches`` is the number
    of launches for one column. ``why_not`` is None, or one sentence why the kernel cannot run the steps. Call
    :meth:`run` only if ``why_not`` is None.
    """

    def __init__(self, rows: Rows, steps: list[Step]) -> None:
        super().__init__(rows, steps)
        self.launches: int = 0
        self.why_not: str | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        try:
            if steps:
                self.launches = columns.launches(self._program.tensors, self._code, rows.margin)
        except columns.CannotRun as refusal:
            self.why_not = str(refusal)

    def run(self) -> None:
        nodes = self.launches * self._rows.width * min(1, self._rows.images)
        if nodes == 0:
            return None
        if nodes > _MAX_NODES:
            return super().run()
        if self._graph is None:
            self._graph = capture(self._rows.device, super().run)
        self._graph.replay()
