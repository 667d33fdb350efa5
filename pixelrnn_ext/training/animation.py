"""The order in which pixels are drawn, as a GIF."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from .files import write_atomically
from .grid import picture
from .optional import need
from .progress import bar

SUFFIX = ".gif"
FRAMES = 100  # at most, and one of nothing
FRAME, LAST_FRAME = 50, 2000  # milliseconds


def is_animation(path: Path) -> bool:
    """Whether a picture of that name moves."""
    return path.suffix.lower() == SUFFIX


def drawing_order(model: models.AutoregressiveModel, known: Tensor) -> Tensor:
    """The pixels that ``model.sample`` draws, as indices into a flattened image, in its order: rows from the top, those
    of a multi-scale model's small image first.

    Args:
        known: bool (1, 1, H, W), of pixels that are given.
    """
    height, width = known.shape[2:]
    index = torch.arange(height * width)
    if isinstance(model, models.MultiScalePixelRNN):
        small = torch.zeros(height, width, dtype=torch.bool)
        small[:: model.factor, :: model.factor] = True
        index = torch.cat([index[small.flatten()], index[~small.flatten()]])
    return index[~known.flatten()[index]]


def frames(before: Tensor, images: Tensor, order: Tensor) -> Iterator[Tensor]:
    """From images (N, C, H, W) before anything was drawn to the finished ones, some more pixels drawn in each."""
    drawn = torch.zeros(images.shape[2:], dtype=torch.bool)
    for done in _pixels_done(order):
        drawn.view(-1)[order[:done]] = True
        yield torch.where(drawn, images, before)


def write_animation(path: Path, before: Tensor, images: Tensor, order: Tensor, columns: int) -> None:
    """A grid of images in [0, 1], float (N, C, H, W), whose pixels appear in ``order``, over and over.

    Gray images are exact, colours are reduced to 256.
    """
    pillow, encoded = need("PIL.Image"), io.BytesIO()
    count, gray = len(_pixels_done(order)), images.shape[1] == 1
    with bar("frames", count, "writing") as shown:

        def pictures() -> Iterator[Any]:
            for frame in frames(before, images, order):
                pixels = picture(frame, columns)
                yield pillow.fromarray(pixels[..., 0].copy() if gray else pixels)
                shown.update()

        first, *others = pictures()
        durations = [FRAME] * (count - 1) + [LAST_FRAME]
        first.save(encoded, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    write_atomically(path, encoded.getbuffer())


def _pixels_done(order: Tensor) -> range:
    """How many pixels each frame has, in equal steps."""
    step = -(-len(order) // FRAMES) or 1
    return range(0, len(order) + step, step)
