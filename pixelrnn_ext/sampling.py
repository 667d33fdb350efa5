"""Exact ancestral sampling: pixel by pixel in raster order, colour by colour (section 2).

All samplers take the same arguments. If they get the same uniform numbers, they draw the same image, up to rounding.
"""

import sys
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from . import likelihood
from ._arguments import capability_level
from ._dynamo import never_compiled
from .incremental.drawing import Drawing
from .incremental.draws import Draws, Progress, checked_draws, checked_size
from .incremental.graph import is_capturing
from .incremental.network import PixelModel
from .incremental.plan import WAYS, SamplingPlan
from .operators.autocast import without_autocast

SamplerFunction: TypeAlias = Callable[[PixelModel, Draws, Tensor | None, Progress | None], Tensor]


class SampledModel(PixelModel, Protocol):
    """A model of one or more networks. ``_draw`` calls a SamplerFunction for each network."""

    def buffers(self) -> Iterator[Tensor]: ...

    def _check_condition(self, condition: Tensor | None, images: int, height: int, width: int) -> None: ...

    def _draw(
        self, sampler: SamplerFunction, draws: Draws, condition: Tensor | None, progress: Progress | None = None
    ) -> Tensor: ...


class Sampler:
    """Draws batches of images of one size. Plans how to draw them and packs the weights only once, when it is made.

    On a GPU, a CUDA graph can capture :meth:`draw`. Threads may share a Sampler, which draws one batch after the other.
    On a GPU they must then use one CUDA stream.

    A copy by ``copy`` or ``pickle`` plans and packs anew, and draws the same images, unless hooks were
    registered meanwhile. A deep copy has its own model.

    Args:
        model: a PixelRNN, a PixelCNN or a MultiScalePixelRNN. If its parameters or buffers change, a new Sampler is
            needed. Hooks that are registered later have no effect.
        n: number of images in a batch.
        shape: (C, H, W) of an image.
        temperature: divides the logits; 0 always takes the most likely value.
        condition: broadcastable to (n, condition_channels, H, W), for a model with ``condition_channels``.

    Raises:
        TypeError, ValueError: an argument does not fit.
        RuntimeError: a CUDA graph captures the call.

    Example:
        >>> sampler = Sampler(from_name("mnist-diagonal"), 2, (1, 28, 28))
        >>> sampler.draw(generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 28, 28])
    """

    @never_compiled
    def __init__(
        self,
        model: SampledModel,
        n: int,
        shape: tuple[int, int, int],
        *,
        temperature: float = 1.0,
        condition: Tensor | None = None,
    ) -> None:
        _check_model(model)
        size = checked_size(model, n, shape, temperature)
        model._check_condition(condition, size[0], *size[2:])
        self._model, self._size, self._temperature, self._condition = model, size, float(temperature), condition
        self._drawings = _plan(model, size, self._temperature, condition)
        self._state = _State(model)
        self._lock, self._thread = threading.Lock(), 0

    def __getstate__(self) -> dict[str, Any]:
        """Returns the constructor's arguments, because the packed weights point to each other's memory."""
        self._check_unchanged()
        n, *shape = self._size
        options = {"temperature": self._temperature, "condition": self._condition}
        return {"model": self._model, "n": n, "shape": tuple(shape)} | options

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        Sampler.__init__(self, **arguments)

    def _check_unchanged(self) -> None:
        if not self._state.equals(_State(self._model)):
            raise RuntimeError("expected the parameters and buffers with which the Sampler was made, got changed ones")

    @property
    def plans(self) -> list[SamplingPlan]:
        """The plan of each network of the model, as :func:`sampling_plan` returns it."""
        return [drawing.plan for drawing in self._drawings]

    @never_compiled
    @torch.no_grad()
    def draw(
        self,
        *,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
        known: Tensor | None = None,
        condition: Tensor | None = None,
        progress: bool | Progress = False,
    ) -> Tensor:
        """Draws n images, and returns them as ``model.sample`` does.

        Args:
            generator, given, known, progress: as in ``model.sample``. During the capture of a CUDA graph,
                ``generator`` must be one of the GPU, and a value of ``given`` out of range is a device error.
            condition: replaces the constructor's condition in this batch. It has the same shape.

        Raises:
            TypeError, ValueError: an argument does not fit.
            FloatingPointError: as in ``model.sample``.
            RuntimeError: the model's parameters or buffers have changed, or ``progress`` calls this method. Or a CUDA
                graph captures the call, but the way of a plan is not "images", an argument is not on the GPU, or there
                was no call before the capture.
        """
        n, colours, height, width = self._size
        model, call = self._model, progress_callback(progress)
        if self._thread == threading.get_ident():
            raise RuntimeError("expected progress not to draw with the same Sampler, got a call of draw")
        if not is_capturing(next(model.parameters()).device):
            self._check_unchanged()
        if condition is None:
            condition = self._condition
        model._check_condition(condition, n, height, width)
        sizes = [tuple(tensor.shape) for tensor in (condition, self._condition) if tensor is not None]
        if sizes[:1] != sizes[1:]:
            raise ValueError(f"expected a condition of the constructor's shape {sizes[1]}, got {sizes[0]}")
        draws = checked_draws(model, n, (colours, height, width), generator, self._temperature, given, known)
        if progress is True:
            for plan in self.plans:
                plan_to_stderr(plan)
        drawings = iter(self._drawings)

        def draw(model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None) -> Tensor:
            return next(drawings).draw(draws, condition, progress)

        with self._lock, without_autocast(draws.values.device.type):
            self._thread = threading.get_ident()
            try:
                return model._draw(draw, draws, condition, call)
            finally:
                self._thread = 0


@never_compiled
def sampling_plan(
    model: SampledModel, n: int, shape: tuple[int, int, int], *, capability: tuple[int, int] | None = None
) -> list[SamplingPlan]:
    """Returns how ``model.sample(n, shape)`` draws images, and why no faster way can draw them.

    The list has one plan for each network of the model: two for a multi-scale model, one for all others.

    Args:
        model: a PixelRNN, a PixelCNN or a MultiScalePixelRNN. The plan is for its device, dtype and backend.
        n: number of images.
        shape: (C, H, W) of an image.
        capability: compute capability of a GPU, such as (9, 0). The GPU need not be present, the model may be on a
            CPU, and this build may have no kernels for the GPU. The plan's description says so. None: the model's
            device.

    Raises:
        TypeError, ValueError: an argument does not fit.

    Example:
        >>> [plan] = sampling_plan(from_name("mnist-diagonal"), 16, (1, 28, 28), capability=(9, 0))
        >>> print(plan)  # doctest: +SKIP
        1 launch for 16 images, a block an image, 192624 bytes of shared memory a block, planned ...
    """
    _check_model(model)
    level = None if capability is None else capability_level(capability)
    size, channels = checked_size(model, n, shape, 1.0), model.condition_channels
    condition = torch.zeros(size[0], channels, 1, 1, device=next(model.parameters()).device) if channels else None
    return [drawing.plan for drawing in _plan(model, size, 1.0, condition, level)]


def _check_model(model: object) -> None:
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "_draw"):
        raise TypeError(f"expected a PixelRNN, PixelCNN or MultiScalePixelRNN, got {type(model).__name__}")


class _State:
    """A copy of a model's parameters and buffers. A comparison of two copies waits once for a GPU, not for each tensor.

    It compares bytes, because in-place changes of ``.data`` leave no other trace.
    """

    def __init__(self, model: SampledModel) -> None:
        tensors = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
        self._facts = [(tensor.device, tensor.dtype, tensor.shape) for tensor in tensors]
        by_device: dict[torch.device, list[Tensor]] = {}
        for tensor in tensors:
            by_device.setdefault(tensor.device, []).append(tensor.contiguous().flatten().view(torch.uint8))
        self._bytes = [torch.cat(parts) for parts in by_device.values()]

    def equals(self, other: "_State") -> bool:
        return self._facts == other._facts and all(map(torch.equal, self._bytes, other._bytes))


def _plan(
    model: SampledModel,
    size: torch.Size,
    temperature: float,
    condition: Tensor | None,
    capability: int | None = None,
) -> list[Drawing]:
    """Returns a Drawing for each network of the model, in the order in which the model draws with them."""
    drawings, device = [], next(model.parameters()).device

    def plan(model: PixelModel, draws: Draws, condition: Tensor | None, progress: Progress | None) -> Tensor:
        drawings.append(Drawing(model, draws.values.shape, condition, temperature, capability=capability))
        return draws.values

    values = torch.zeros(size, dtype=torch.int64, device=device)
    # Tensors of inference mode could not be changed outside of it.
    with torch.inference_mode(False), torch.no_grad(), without_autocast(device.type):
        model._draw(plan, Draws(values.double(), values.bool(), values, temperature), condition)
    return drawings


@never_compiled
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
    with torch.no_grad(), without_autocast(draws.values.device.type):
        drawing = Drawing(model, draws.values.shape, condition, draws.temperature, ways)
        on_plan(drawing.plan)
        return drawing.draw(draws, None, progress)


@never_compiled
def logit_map(
    model: PixelModel, images: Tensor, condition: Tensor | None = None, ways: Collection[str] = WAYS
) -> Tensor:
    """Returns the logits that :func:`incremental` computes for images, (N, C * levels, H, W), colour by colour."""
    all_known = torch.ones_like(images, dtype=torch.bool)
    draws = Draws(torch.zeros_like(images, dtype=torch.float64), all_known, images.long(), 1.0)
    with torch.no_grad(), without_autocast(images.device.type):
        rows = Drawing(model, images.shape, condition, 1.0, ways).rows(draws, None, True)
        return torch.cat([logits for _, logits in rows if logits is not None], 2)


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
                value = likelihood.draw_or_mark(logits, draws.uniform[:, k, r, c], draws.temperature)
                images[:, k, r, c] = torch.where(draws.known[:, k, r, c], images[:, k, r, c], value)
                likelihood.check_drawn(images[:, k, r, c], draws.network)
        if progress:
            progress(r + 1, height)
    return images


def progress_callback(progress: bool | Progress) -> Progress | None:
    """Returns the function to call with (rows done, rows).

    If ``progress`` is True, the function writes to stderr. If it is False, the result is None. A callable is returned
    unchanged.
    """
    if isinstance(progress, bool):
        return _to_stderr if progress else None
    if not callable(progress):
        raise TypeError(f"expected progress to be a bool or callable, got {type(progress).__name__}")
    return progress


def plan_to_stderr(plan: SamplingPlan) -> None:
    print(f"drawing: {plan}", file=sys.stderr, flush=True)


def _to_stderr(done: int, rows: int) -> None:
    print(f"row {done}/{rows}", end="\n" if done == rows else "\r", file=sys.stderr, flush=True)


class Report:
    """Joins the progress of successive computations.

    Calls ``progress`` with the number of rows that all computations together have done, and with ``total``.
    """

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._call = progress_callback(progress)
        self._before, self._total = 0, total

    def next_part(self, rows: int) -> Progress | None:
        """Returns the callback of the next part. It scales the part's progress to ``rows`` of the total."""
        call, before, total = self._call, self._before, self._total
        self._before += rows
        return call and (lambda done, whole: call(before + rows * done // whole, total))
