"""Animated GIFs of a model drawing pixels."""

import io
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from .files import write_atomically
from .grid import ANIMATED, picture
from .optional import need
from .progress import bar

FRAMES = 100  # most frames besides the first, in which nothing is drawn
FRAME, LAST_FRAME = 50, 2000  # durations in milliseconds


def is_animation(path: Path) -> bool:
    return path.suffix.lower() == ANIMATED


def drawing_order(model: models.AutoregressiveModel, known: Tensor) -> Tensor:
    """Returns the indices of the pixels that are not ``known``, bool (1, 1, H, W), in drawing order."""
    height, width = known.shape[2:]
    index = torch.arange(height * width)
    if isinstance(model, models.MultiScalePixelRNN):  # the small image is drawn first
        small = torch.zeros(height, width, dtype=torch.bool)
        small[:: model.factor, :: model.factor] = True
        index = torch.cat([index[small.flatten()], index[~small.flatten()]])
    return index[~known.flatten()[index]]


def frames(before: Tensor, images: Tensor, order: Tensor) -> Iterator[Tensor]:
    """Yields frames from ``before`` to the finished ``images``, (N, C, H, W), each with more pixels drawn."""
    for done in _pixels_done(order):
        drawn = torch.zeros(images.shape[2:], dtype=torch.bool)
        drawn.view(-1)[order[:done]] = True
        yield torch.where(drawn, images, before)


def write_animation(
    path: Path, before: Tensor, images: Tensor, order: Tensor, columns: int, stop: Callable[[], bool] = lambda: False
) -> None:
    """Writes an endless GIF: a grid of images in [0, 1], float (N, C, H, W), whose pixels appear in ``order``.

    Once ``stop()`` is true, writes only the last frame, the finished images.
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
    step = -(-len(order) // FRAMES) or 1
    return range(0, len(order) + step, step)


class Gif:
    """Encodes an endless GIF frame by frame. Pillow's ``save`` would keep all frames in memory.

    Gray frames are exact. The changed pixels of a coloured frame are reduced to 255 colours.
    """

    def __init__(self) -> None:
        self._encoded = io.BytesIO()
        self._shown: Any = None

    def add(self, pixels: Any, duration: int) -> None:
        """Adds a frame, a numpy array of uint8, (H, W) or (H, W, 3), for ``duration`` milliseconds."""
        image, plugin, numpy = need("PIL.Image"), need("PIL.GifImagePlugin"), need("numpy")
        changes = numpy.ones(pixels.shape, bool) if self._shown is None else pixels != self._shown
        changed = image.fromarray(changes.reshape(*pixels.shape[:2], -1).any(2))
        # Encodes only the box around all changes. Unchanged pixels in the box are transparent.
        box = changed.getbbox() or (0, 0, 1, 1)
        changed = changed.crop(box)
        unchanged = need("PIL.ImageChops").invert(changed)
        part = _indexed(image.fromarray(pixels).crop(box), unchanged)
        options = {"duration": duration, "include_color_table": pixels.ndim == 3}
        counts = part.histogram(changed)
        if 0 in counts:
            options["transparency"] = counts.index(0)
            part.paste(counts.index(0), mask=unchanged)
        blocks = [] if self._encoded.tell() else plugin.getheader(part, info={"loop": 0})[0]
        self._encoded.write(b"".join(blocks + plugin.getdata(part, box[:2], **options)))
        self._shown = pixels

    def finish(self) -> memoryview:
        self._encoded.write(b";")
        return self._encoded.getbuffer()


def _indexed(part: Any, unchanged: Any) -> Any:
    """Gives a box of a frame a palette: all grays if gray, else 255 colours of changed pixels and an unused index."""
    if part.mode == "L":
        return part.convert("P")
    part.paste(0, mask=unchanged)
    part = part.convert("P", palette=need("PIL.Image").Palette.ADAPTIVE, colors=255)
    part.putpalette([*part.getpalette(), 0, 0, 0])
    return part
