"""Draws images with one network. Keeps the way of drawing and the network's buffers for the next images."""

from collections.abc import Collection, Iterator

import torch
from torch import Size, Tensor

from ..likelihood import check_drawn
from .block import ImageSampler
from .draws import Draws, Progress
from .graph import is_capturing
from .network import PixelModel, RowNetwork
from .plan import WAYS, SamplingPlan, plan_drawing
from .run import Runners, run_rows
from .steps import Draw


class Drawing:
    """Plans how to draw images of one size with one network, and draws them.

    Args:
        size: (N, C, H, W) of the images.
        condition: broadcastable to (N, condition_channels, H, W).
        ways: the ways of drawing to choose from, as in ``SamplingPlan``. "pytorch" is always one of them.
        capability: rows.py describes it.
    """

    def __init__(
        self,
        model: PixelModel,
        size: Size,
        condition: Tensor | None,
        temperature: float,
        ways: Collection[str] = WAYS,
        capability: int | None = None,
    ) -> None:
        if is_capturing(next(model.parameters()).device):
            expected = "no capture of a CUDA graph while a drawing is planned (px.Sampler plans before)"
            raise RuntimeError(f"expected {expected}, got one")
        n, colours, height, width = size
        self._network = network = RowNetwork(model, n, width, condition, capability=capability)
        rows = network.rows
        uniform, known = rows.buffer(colours, torch.float64), rows.buffer(colours, torch.bool)
        values = rows.buffer(colours, torch.int64)
        scaled = model.scaled(torch.arange(model.levels, device=rows.device)).to(rows.dtype)
        operands = network.output, uniform, known, values, scaled, network.input
        steps = [Draw(*operands, colour, temperature) for colour in range(colours)]
        self._first, self._is_new = steps[0], True
        self.plan: SamplingPlan
        self.runner: ImageSampler | Runners
        self.plan, self.runner = plan_drawing(model.backend, network, steps, height, ways)

    def draw(self, draws: Draws, condition: Tensor | None, progress: Progress | None = None) -> Tensor:
        """Returns the images. If ``condition`` is not None, its values replace the constructor's condition.

        ``progress`` is called with (rows done, rows) after every row, or on a GPU after every launch. Raises the error
        of :func:`pixelrnn_ext.likelihood.draw` if a probability is NaN.
        """
        values, height, done = [], draws.values.shape[2], 0
        for values_of_rows, _ in self.rows(draws, condition, False):
            check_drawn(values_of_rows, draws.network)
            values.append(values_of_rows)
            done += values_of_rows.shape[2]
            if progress:
                progress(done, height)
        return torch.cat(values, 2)

    def rows(self, draws: Draws, condition: Tensor | None, with_logits: bool) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields the values and the logits of one row after the other, or of several rows together.

        If not ``with_logits``, the logits may be None.
        """
        network = self._network
        if is_capturing(network.rows.device) and self.plan.way != "images":
            got = f"'{self.plan.way}' ({self.plan})"
            raise RuntimeError(f"expected a plan of the way 'images' to capture a drawing in a CUDA graph, got {got}")
        if not self._is_new or condition is not None:
            network.reset(condition)
        self._is_new = False
        if isinstance(self.runner, ImageSampler):
            return _rows_of_launches(self.runner, draws, network.output if with_logits else None)
        return self._rows_of_steps(self.runner, draws)

    def _rows_of_steps(self, runners: Runners, draws: Draws) -> Iterator[tuple[Tensor, Tensor]]:
        network, first = self._network, self._first
        inputs = (first.uniform, draws.uniform), (first.known, draws.known), (first.values, draws.values)
        for _ in run_rows(network, runners, inputs):
            yield network.rows.map(first.values).clone(), network.rows.map(network.output).clone()


def _rows_of_launches(
    images: ImageSampler, draws: Draws, output: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """``output`` is the network's buffer of logits. If it is None, the logits are None, too."""
    n, _, height, width = draws.values.shape
    values = draws.values.clone(memory_format=torch.contiguous_format)
    logits = None if output is None else output.new_empty(height, width, n, output.shape[2])
    for first, last in images.draw(draws.uniform.contiguous(), draws.known.contiguous(), values, logits):
        yield values[:, :, first:last].clone(), None if logits is None else logits[first:last].permute(2, 3, 0, 1)
