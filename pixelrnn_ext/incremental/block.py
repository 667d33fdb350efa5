"""Draws rows of all images in one launch of a CUDA kernel (csrc/cuda/block_kernel.h)."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..operators import columns
from .graph import wait
from .network import RowNetwork, pixel_steps
from .program import Program
from .steps import Step

# A launch takes at most _LAUNCH_SECONDS, so that Ctrl-C and progress need not wait longer. A round takes
# _ROUND_SECONDS. Both times are estimates.
_LAUNCH_SECONDS = 0.05
_ROUND_SECONDS = 1e-6


class BlockSampler:
    """A network's steps and row steps, compiled for a kernel that draws rows of all images in one launch.

    ``value_steps`` has the draw step of each colour. ``why_not`` is None, or one sentence why the GPU cannot run the
    network in this way, or why another way is faster. Call :meth:`draw` only if ``why_not`` is None.
    """

    def __init__(self, network: RowNetwork, value_steps: Sequence[Step], height: int) -> None:
        rows = network.rows
        self._margin: int = rows.margin
        self._device = rows.device
        self._program = program = Program(rows)
        main, mirrored = map(program.compile_steps, (pixel_steps(network, value_steps), network.mirrored_steps()))
        self._programs = columns.Programs(main, mirrored, before_row=[], after_row=[])
        self.why_not: str | None = None
        self.rows_per_launch: int = height
        try:
            self._plan(height)  # a first check without row steps, whose maps may take much memory
            if not program.has_finite_weights():
                raise columns.CannotRun("expected finite weights to draw images in one launch, got infinity or NaN")
            before, after = map(program.compile_row_steps, (network.before_row, network.after_row))
            self._programs = self._programs._replace(before_row=before, after_row=after)
            rounds = self._plan(height)
        except columns.CannotRun as refusal:
            self.why_not = str(refusal)
        else:
            self.rows_per_launch = max(1, int(_LAUNCH_SECONDS / (_ROUND_SECONDS * rounds * rows.width)))

    def _plan(self, height: int) -> int:
        """Returns the number of rounds for a pixel.

        Raises columns.CannotRun if the GPU cannot draw images in this way, or if another way is faster.
        """
        _, rounds = columns.plan_rows(self._program.tensors, self._programs, self._margin, height)
        return rounds

    def draw(self, uniform: Tensor, known: Tensor, values: Tensor, logits: Tensor | None) -> Iterator[tuple[int, int]]:
        """Draws all rows, from top to bottom. For each launch, yields its first row and the row after its last.

        Args:
            uniform, known, values: contiguous (N, C, H, W). The kernel writes the unknown values to ``values``.
            logits: (H, W, N, channels), to which the kernel writes all logits, or None.
        """
        program, height = self._program, values.shape[2]
        for first in range(0, height, self.rows_per_launch):
            last = min(height, first + self.rows_per_launch)
            maps = uniform, known, values, logits
            columns.draw_rows(program.tensors, self._programs, self._margin, maps, program.temperature, first, last)
            if last < height:
                wait(self._device)
            yield first, last
