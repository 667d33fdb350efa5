"""Draws rows of whole images in one launch, on a GPU (csrc/cuda/block_kernel.h)."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..operators import columns
from .graph import wait
from .network import RowNetwork
from .program import Program
from .steps import Step

# A launch takes at most about so many seconds, so that Ctrl-C and progress come in time. Both are estimates.
_LAUNCH_SECONDS = 0.05
_ROUND_SECONDS = 1e-6


class BlockSampler:
    """A network's row steps and steps, compiled for launches that draw some rows of all images.

    ``value_steps`` are each colour's draw. ``why_not`` is one sentence why the GPU cannot run the network like this, or
    should not, because another way is faster. Otherwise it is None. If it is a sentence, :meth:`draw` must not be
    called.
    """

    def __init__(self, network: RowNetwork, value_steps: Sequence[Step], height: int) -> None:
        rows = network.rows
        self._margin: int = rows.margin
        self._device = rows.device
        self._program = program = Program(rows)
        steps = [step for colour, value in enumerate(value_steps) for step in (*network.steps(colour), value)]
        both = program.compile_steps(steps), program.compile_steps(network.mirrored_steps())
        self._codes: tuple[list[int], list[int], list[int], list[int]] = (*both, [], [])
        self.why_not: str | None = None
        self.rows_per_launch: int = height
        try:
            self._plan(height)  # without the row steps, whose maps may take much memory
            if not program.has_finite_weights():
                raise columns.CannotRun("expected finite weights to draw images in one launch, got infinity or NaN")
            row_steps = program.compile_row_steps(network.before_row), program.compile_row_steps(network.after_row)
            self._codes = (*both, *row_steps)
            rounds = self._plan(height)
        except columns.CannotRun as refusal:
            self.why_not = str(refusal)
        else:
            self.rows_per_launch = max(1, int(_LAUNCH_SECONDS / (_ROUND_SECONDS * rounds * rows.width)))

    def _plan(self, height: int) -> int:
        """Returns the number of rounds for a pixel. Raises columns.CannotRun."""
        _, rounds = columns.plan_rows(self._program.tensors, *self._codes, self._margin, height)
        return rounds

    def draw(self, uniform: Tensor, known: Tensor, values: Tensor, logits: Tensor | None) -> Iterator[tuple[int, int]]:
        """Draws all rows, from top to bottom. Yields the first row of each launch, and the row behind its last.

        Args:
            uniform, known, values: contiguous (N, C, H, W). Values that are not known are written.
            logits: written unless it is None, (H, W, N, channels).
        """
        program, height = self._program, values.shape[2]
        for first in range(0, height, self.rows_per_launch):
            last = min(height, first + self.rows_per_launch)
            columns.draw_rows(
                program.tensors, *self._codes, self._margin, uniform, known, values, logits, program.temperature,
                first, last,
            )  # fmt: skip
            wait(self._device)
            yield first, last
