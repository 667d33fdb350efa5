"""The order in which pixels are drawn, as a GIF."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from .. import models
from .files import write_atomically
from .gif import Gif
from .grid import ANIMATED, picture
from .progress import bar

FRAMES = 100  # at most, and one of nothing
FRAME, LAST_FRAME = 50, 2000  # milliseconds


def is_animation(path: Path) -> bool:
    """Whether a picture of that name moves."""
    return path.suffix.lower() == ANIMATED


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
    for done in _pixels_done(order):
        drawn = torch.zeros(images.shape[2:], dtype=torch.bool)
        drawn.view(-1)[order[:done]] = True
        yield torch.where(drawn, images, before)


def write_animation(
    path: Path, before: Tensor, images: Tensor, order: Tensor, columns: int, stop: Callable[[], bool] = lambda: False
) -> None:
    """A grid of images in [0, 1], float (N, C, H, W), whose pixels appear in ``order``, over and over.

    Gray images are exact, colours are reduced to 255. Where ``stop()`` becomes true, frames are left out, but not the
    last one, of the finished images.
    """
    gif = Gif()

    def add(frame: Tensor, duration: int) -> None:
        pixels = picture(frame, columns)
        gif.add(pixels[..., 0] if images.shape[1] == 1 else pixels, duration)

    count = len(_pixels_done(order))
    with bar("frames", count, "writing") as shown:
        for frame in islice(frames(before, images, order), count - 1):
            if stop():
                break
            add(frame, FRAME)
            shown.update()
        add(images, LAST_FRAME)
        shown.update()
    write_atomically(path, gif.finish())


def _pixels_done(order: Tensor) -> range:
    """How many pixels each frame has, in equal steps."""
    step = -(-len(order) // FRAMES) or 1
    return range(0, len(order) + step, step)
