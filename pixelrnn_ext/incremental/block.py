"""Draws rows of all images in one launch of a CUDA kernel (csrc/cuda/sampler/block_kernel.h).

A team draws an image: a block of threads, or a cluster of blocks.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..operators import columns
from .graph import is_capturing, wait
from .network import RowNetwork, pixel_steps
from .program import Program
from .rows import Rows
from .steps import Step

# A launch draws as many rows as take at most this number of seconds, by estimate. It draws at least one row. Launches
# are short, because Ctrl-C and the progress callback have to wait for the end of a launch.
_LAUNCH_SECONDS = 0.05


class ImageSampler:
    """A network's steps and row steps, compiled for a kernel that draws rows of all images in one launch.

    ``value_steps`` has the draw step of each colour. A team is the blocks of threads that draw one image. If ``blocks``
    is not 0, a team has this number of blocks. ``why_not`` is None, or one sentence why the GPU cannot run the network
    in this way, or why another way is faster. Use ``team`` and call :meth:`draw` only if ``why_not`` is None.
    """

    team: columns.Team

    def __init__(self, network: RowNetwork, value_steps: Sequence[Step], height: int, blocks: int = 0) -> None:
        self._rows: Rows = network.rows
        self._height, self._blocks = height, blocks
        self._program = program = Program(network.rows)
        main, mirrored = map(program.compile_steps, (pixel_steps(network, value_steps), network.mirrored_steps()))
        self._programs = columns.Programs(main, mirrored, before_row=[], after_row=[], margin=network.rows.margin)
        self._kept: Tensor | None = None
        self.why_not: str | None = None
        try:
            self._plan()  # a first check without row steps, whose maps may take much memory
            if not program.has_finite_weights():
                raise columns.CannotRun("expected finite weights to draw images in one launch, got infinity or NaN")
            before, after = map(program.compile_row_steps, (network.before_row, network.after_row))
            self._programs = self._programs._replace(before_row=before, after_row=after)
            self.team = self._plan()
        except columns.CannotRun as refusal:
            self.why_not = str(refusal)

    def _plan(self) -> columns.Team:
        """Raises columns.CannotRun if the GPU cannot draw images in this way, or if another way is faster."""
        assert self._rows.capability is not None
        sizes = self._height, self._rows.capability, self._blocks
        return columns.plan_rows(self._program.tensors, self._programs, *sizes)

    @property
    def launches(self) -> int:
        return -(-self._height // self.rows_per_launch)

    @property
    def rows_per_launch(self) -> int:
        return max(1, int(_LAUNCH_SECONDS / (self.team.seconds * self._rows.width)))

    def draw(self, uniform: Tensor, known: Tensor, values: Tensor, logits: Tensor | None) -> Iterator[tuple[int, int]]:
        """Draws all rows, from top to bottom. For each launch, yields its first row and the row after its last.

        A CUDA graph can capture all drawings but the first, which copies the plan to the GPU.

        Args:
            uniform, known, values: contiguous (N, C, H, W). The kernel writes the unknown values to ``values``.
            logits: (H, W, N, channels), to which the kernel writes all logits, or None.
        """
        program = self._program
        captured = is_capturing(self._rows.device)
        if self._kept is None:
            if captured:
                raise RuntimeError("expected a drawing before the capture of a CUDA graph, to load the plan, got none")
            self._kept = columns.upload_rows(program.tensors, self._programs, self._height, self.team.blocks)
        maps = uniform, known, values, logits
        for first in range(0, self._height, self.rows_per_launch):
            last = min(self._height, first + self.rows_per_launch)
            columns.draw_rows(program.tensors, self._kept, maps, program.temperature, first, last)
            if last < self._height and not captured:
                wait(self._rows.device)
            yield first, last
