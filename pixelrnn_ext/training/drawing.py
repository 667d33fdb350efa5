"""Samples and completions in batches, of which those that are finished survive Ctrl-C."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..models import AutoregressiveModel
from .data import conditions
from .seeds import generator

HIDDEN = ("lower-half", "box")


def cycled_classes(count: int, classes: int) -> Tensor | None:
    """Conditions for ``count`` images, one class after the other; None for a model without classes."""
    return conditions(torch.arange(count) % classes, classes) if classes else None


@torch.no_grad()
def draw(
    model: AutoregressiveModel,
    count: int,
    shape: tuple[int, int, int],
    *,
    seed: int,
    batch_size: int = 16,
    temperature: float = 1.0,
    condition: Tensor | None = None,
    given: Tensor | None = None,
    known: Tensor | None = None,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[Tensor, bool]:
    """Draws images with ``model.sample``, ``batch_size`` at once.

    Args:
        shape: (C, H, W) of an image.
        condition, given: for every image, first dimension ``count``; ``known`` (1, 1, H, W): see ``sample``.
        progress: called with the rows done and the rows in all. KeyboardInterrupt, raised there or by Ctrl-C, ends it.

    Returns:
        The finished images on the CPU, integers (N, C, H, W) with N <= count, and whether they are all.
    """
    source = generator("sample", seed)
    drawn: list[Tensor] = []
    rows = shape[1]
    total = -(-count // batch_size) * rows
    try:
        for start in range(0, count, batch_size):
            batch = slice(start, min(start + batch_size, count))
            report = partial(_report, progress, len(drawn) * rows, rows, total)
            images = model.sample(
                batch.stop - batch.start,
                shape,
                generator=source,
                temperature=temperature,
                condition=None if condition is None else condition[batch],
                given=None if given is None else given[batch],
                known=known,
                progress=report,
            )
            drawn.append(images.cpu())
    except KeyboardInterrupt:
        pass
    images = torch.cat(drawn) if drawn else torch.empty(0, *shape, dtype=torch.int64)
    return images, len(images) == count


def _report(progress: Callable[[int, int], object], before: int, rows: int, total: int, done: int, of: int) -> None:
    """Rows of a batch, of which a multi-scale model counts those of its small image too, as rows of all."""
    progress(before + done * rows // of, total)


def known_pixels(hide: str, height: int, width: int) -> Tensor:
    """(1, 1, H, W) of bool: False in the lower half, or in a box in the middle with half the sides."""
    known = torch.ones(1, 1, height, width, dtype=torch.bool)
    if hide == "lower-half":
        known[:, :, height // 2 :] = False
    else:
        known[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4] = False
    return known
