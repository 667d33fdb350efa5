"""Exact ancestral sampling: pixel by pixel in raster order, colour by colour (section 2).

All samplers take the same arguments. If they get the same uniform numbers, they draw the same image, up to rounding.
"""

import math
import sys
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from . import likelihood
from ._arguments import check_dtype, check_number, integer
from .incremental.block import ImageSampler
from .incremental.network import PixelModel, RowNetwork
from .incremental.plan import WAYS, SamplingPlan, plan_drawing
from .incremental.run import run_rows
from .incremental.steps import Draw
from .operators.autocast import without_autocast
from .operators.operands import check_memory, unexpanded

Progress = Callable[[int, int], None]


class Draws(NamedTuple):
    """A request to a sampler. All tensors are (N, C, H, W)."""

    uniform: Tensor  # float64, in [0, 1)
    known: Tensor  # bool: which values are known
    values: Tensor  # int64; a sampler reads only the known ones
    temperature: float


Sampler = Callable[[PixelModel, Draws, Tensor | None, Progress | None], Tensor]


def incremental(
    model: PixelModel,
    draws: Draws,
    condition: Tensor | None = None,
    progress: Progress | None = None,
    *,
    ways: Collection[str] = WAYS,
    on_plan: Callable[[SamplingPlan], object] = lambda plan: None,
) -> Tensor:
    """Draws images and keeps every layer's state, so that the network computes each pixel once.

    Args:
        model: a PixelRNN or PixelCNN.
        draws: the uniform numbers and the known values.
        condition: broadcastable to (N, condition_channels, H, W).
        progress: called with (rows done, rows) after every row, or on a GPU after every launch.
        ways: the ways of drawing to choose from, as in ``SamplingPlan``. "pytorch" is always one of them.
        on_plan: called with the plan before the first row.
    """
    values, height, done = [], draws.values.shape[2], 0
    with without_autocast(draws.values.device.type):
        for values_of_rows, _ in _rows(model, draws, condition, False, ways, on_plan):
            values.append(values_of_rows)
            done += values_of_rows.shape[2]
            if progress:
                progress(done, height)
    return torch.cat(values, 2)


def sampling_plan(
    model: PixelModel, n: int, shape: tuple[int, int, int], *, capability: tuple[int, int] | None = None
) -> list[SamplingPlan]:
    """Returns how ``model.sample(n, shape)`` draws images, and why no faster way can draw them.

    The list has one plan for each network of the model: two for a multi-scale model, one for all others.

    Args:
        model: a PixelRNN, a PixelCNN or a MultiScalePixelRNN. The plan is for its device, dtype and backend.
        n: number of images.
        shape: (C, H, W) of an image.
        capability: compute capability of a GPU, such as (9, 0). The GPU need not be present, and the model may be on a
            CPU. None: the model's device.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> [plan] = sampling_plan(from_name("mnist-diagonal"), 16, (1, 28, 28), capability=(9, 0))
        >>> print(plan)  # doctest: +SKIP
        1 launch for 16 images, a block an image, 192624 bytes of shared memory a block
    """
    draw = getattr(model, "_draw", None)
    if not isinstance(model, torch.nn.Module) or draw is None:
        raise TypeError(f"expected a PixelRNN, PixelCNN or MultiScalePixelRNN, got {type(model).__name__}")
    level = None
    if capability is not None:
        if not isinstance(capability, tuple) or len(capability) != 2:
            raise TypeError(f"expected capability to be a tuple (major, minor), got {capability!r}")
        major, minor = (integer("a number in capability", number, 0) for number in capability)
        if major > 99 or minor > 9:
            raise ValueError(f"expected capability to be a tuple such as (9, 0), got {capability!r}")
        level = 10 * major + minor
    plans = []

    def plan(network_model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None) -> Tensor:
        network, steps = _network(network_model, draws, condition, level)
        plans.append(plan_drawing(network_model.backend, network, steps, draws.values.shape[2]).plan)
        return draws.values

    draws = checked_draws(model, n, shape, torch.Generator(), 1.0, None, None)
    channels = model.condition_channels
    condition = draws.uniform.new_zeros(n, channels, 1, 1, dtype=torch.float32) if channels else None
    with torch.no_grad(), without_autocast(draws.values.device.type):
        draw(plan, draws, condition)
    return plans


def logit_map(
    model: PixelModel, images: Tensor, condition: Tensor | None = None, ways: Collection[str] = WAYS
) -> Tensor:
    """Returns the logits that :func:`incremental` computes for images, (N, C * levels, H, W), colour by colour."""
    all_known = torch.ones_like(images, dtype=torch.bool)
    draws = Draws(torch.zeros_like(images, dtype=torch.float64), all_known, images.long(), 1.0)
    with torch.no_grad(), without_autocast(images.device.type):
        rows = _rows(model, draws, condition, True, ways, lambda plan: None)
        return torch.cat([logits for _, logits in rows if logits is not None], 2)


def _network(
    model: PixelModel, draws: Draws, condition: Tensor | None, capability: int | None = None
) -> tuple[RowNetwork, list[Draw]]:
    n, colours, _, width = draws.values.shape
    network = RowNetwork(model, n, width, condition, capability=capability)
    rows = network.rows
    uniform, known = rows.buffer(colours, torch.float64), rows.buffer(colours, torch.bool)
    values = rows.buffer(colours, torch.int64)
    scaled = model.scaled(torch.arange(model.levels, device=rows.device)).to(rows.dtype)
    operands = network.output, uniform, known, values, scaled, network.input
    return network, [Draw(*operands, colour, draws.temperature) for colour in range(colours)]


def _rows(
    model: PixelModel,
    draws: Draws,
    condition: Tensor | None,
    with_logits: bool,
    ways: Collection[str],
    on_plan: Callable[[SamplingPlan], object],
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields the values and the logits of one row after the other, or of several rows together, from top to bottom.

    If not ``with_logits``, the logits may be None.
    """
    network, steps = _network(model, draws, condition)
    plan, images, runners = plan_drawing(model.backend, network, steps, draws.values.shape[2], ways)
    on_plan(plan)
    if images is not None:
        yield from _rows_of_launches(images, draws, network.output if with_logits else None)
    if runners is not None:
        first, rows = steps[0], network.rows
        inputs = (first.uniform, draws.uniform), (first.known, draws.known), (first.values, draws.values)
        for _ in run_rows(network, runners, inputs):
            yield rows.map(first.values).clone(), rows.map(network.output).clone()


def _rows_of_launches(
    images: ImageSampler, draws: Draws, output: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields the values and the logits of the rows of each launch.

    ``output`` is the network's buffer of logits. If it is None, the logits are None, too.
    """
    n, _, height, width = draws.values.shape
    values = draws.values.clone(memory_format=torch.contiguous_format)
    logits = None if output is None else output.new_empty(height, width, n, output.shape[2])
    for first, last in images.draw(draws.uniform.contiguous(), draws.known.contiguous(), values, logits):
        yield values[:, :, first:last].clone(), None if logits is None else logits[first:last].permute(2, 3, 0, 1)


def naive(model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None) -> Tensor:
    """Draws images. Runs the network over the whole image for every value. For tests and benchmarks."""
    return _by_passes(model, draws, condition, progress, crop=False)


def cropped(
    model: PixelModel, draws: Draws, condition: Tensor | None = None, progress: Progress | None = None
) -> Tensor:
    """Draws images. For every value, runs the network over the rows down to the value's pixel. For benchmarks."""
    return _by_passes(model, draws, condition, progress, crop=True)


def _by_passes(
    model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None, crop: bool
) -> Tensor:
    _, colours, height, width = draws.values.shape
    images = torch.where(draws.known, draws.values, 0)
    for r in range(height):
        bottom = r + 1 if crop else height
        above = condition if condition is None or condition.shape[2] == 1 else condition[:, :, :bottom]
        for c in range(width):
            for k in range(colours):
                logits = model(images[:, :, :bottom], above)[:, :, k, r, c]
                value = likelihood.draw(logits, draws.uniform[:, k, r, c], draws.temperature)
                images[:, k, r, c] = torch.where(draws.known[:, k, r, c], images[:, k, r, c], value)
        if progress:
            progress(r + 1, height)
    return images


def progress_callback(progress: bool | Progress) -> Progress | None:
    """Returns the callback for (rows done, rows): for True one that writes to stderr, for False None."""
    if isinstance(progress, bool):
        return _to_stderr if progress else None
    if not callable(progress):
        raise TypeError(f"expected progress to be a bool or callable, got {type(progress).__name__}")
    return progress


def plans_to_stderr(model: PixelModel, n: int, shape: tuple[int, int, int]) -> None:
    for plan in sampling_plan(model, n, shape):
        print(f"drawing: {plan}", file=sys.stderr, flush=True)


def _to_stderr(done: int, rows: int) -> None:
    print(f"\rrow {done}/{rows}", end="\n" if done == rows else "", file=sys.stderr, flush=True)


class Report:
    """Joins the progress of successive computations. Calls ``progress`` with (rows done, ``total``) of all."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._call = progress_callback(progress)
        self._before, self._total = 0, total

    def next_part(self, rows: int) -> Progress | None:
        """Returns the callback of the next part. It scales the part's progress to ``rows`` of the total."""
        call, before, total = self._call, self._before, self._total
        self._before += rows
        return call and (lambda done, whole: call(before + rows * done // whole, total))


def checked_draws(
    model: PixelModel,
    n: int,
    shape: tuple[int, int, int],
    generator: torch.Generator | None,
    temperature: float,
    given: Tensor | None,
    known: Tensor | None,
) -> Draws:
    """Checks the arguments of ``model.sample``. Draws the uniform numbers. Moves all tensors to the model's device."""
    parameter = next(model.parameters())
    check_dtype("the model's parameters", parameter.dtype)
    if parameter.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("expected no capture of a CUDA graph, because sample copies its plan to the GPU, got one")
    n = integer("n", n, 0)
    if not isinstance(shape, (tuple, list, torch.Size)):
        raise TypeError(f"expected shape to be a tuple (C, H, W), got {type(shape).__name__}")
    sides = tuple(integer("a number in shape", side, 0) for side in shape)
    if len(sides) != 3 or 0 in sides or sides[0] != model.image_channels:
        raise ValueError(f"expected shape ({model.image_channels}, H, W) with H, W >= 1, got {sides}")
    check_number("temperature", temperature)
    if not 0 <= temperature <= sys.float_info.max:
        raise ValueError(f"expected temperature >= 0 and finite, got {temperature}")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"expected generator to be a torch.Generator, got {type(generator).__name__}")
    if (given is None) != (known is None):
        raise ValueError(f"expected given and known together, got only {'known' if given is None else 'given'}")
    size = n, *sides
    if parameter.device.type == "cpu":
        check_memory("images", size, math.prod(size) * (torch.int64.itemsize + torch.float64.itemsize))
    if given is None or known is None:
        values = torch.zeros(size, dtype=torch.int64, device=parameter.device)
        is_known = torch.zeros(size, dtype=torch.bool, device=parameter.device)
    else:
        values, is_known = _known_values(model, size, given, known)
    # The generator's device, not the model's, so that a seed gives the same image on every device.
    device = generator.device if generator else "cpu"
    uniform = torch.rand(size, dtype=torch.float64, generator=generator, device=device)
    uniform, is_known, values = (tensor.to(parameter.device) for tensor in (uniform, is_known, values))
    return Draws(uniform, is_known, values, float(temperature))


def _known_values(model: PixelModel, size: tuple[int, ...], given: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(given, Tensor) or given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"expected given as a Tensor of integers, got {getattr(given, 'dtype', type(given).__name__)}")
    if not isinstance(known, Tensor) or known.dtype != torch.bool:
        raise TypeError(f"expected known as a Tensor of bool, got {getattr(known, 'dtype', type(known).__name__)}")
    for name, tensor in (("given", given), ("known", known)):
        if tensor.dim() > 4 or any(got not in (1, want) for got, want in zip(tensor.shape[::-1], size[::-1])):
            raise ValueError(f"expected {name} broadcastable to {size}, got {tuple(tensor.shape)}")
    values, is_known = unexpanded(given).long(), unexpanded(known).to(given.device)
    outside = is_known & ((values < 0) | (values >= model.levels))
    if outside.any():
        wrong = int(values.expand_as(outside)[outside][0])
        raise ValueError(f"expected given values in [0, {model.levels}) where known, got {wrong}")
    return torch.where(is_known, values, 0).expand(size).contiguous(), is_known.expand(size)
