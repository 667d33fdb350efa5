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

FRAMES = 100  # the most frames besides the first, in which no pixel is drawn yet
FRAME, LAST_FRAME = 50, 2000  # milliseconds that a frame, and the last frame, are shown


def is_animation(path: Path) -> bool:
    return path.suffix.lower() == ANIMATED


def drawing_order(model: models.AutoregressiveModel, known: Tensor) -> Tensor:
    """Returns the indices of the pixels to draw, in order. ``known`` (1, 1, H, W) marks the given pixels."""
    height, width = known.shape[2:]
    index = torch.arange(height * width)
    if isinstance(model, models.MultiScalePixelRNN):
        small = torch.zeros(height, width, dtype=torch.bool)
        small[:: model.factor, :: model.factor] = True
        index = torch.cat([index[small.flatten()], index[~small.flatten()]])
    return index[~known.flatten()[index]]


def frames(before: Tensor, images: Tensor, order: Tensor) -> Iterator[Tensor]:
    """Yields the frames of an animation from ``before`` to ``images``, (N, C, H, W) each."""
    for done in _pixels_done(order):
        drawn = torch.zeros(images.shape[2:], dtype=torch.bool)
        drawn.view(-1)[order[:done]] = True
        yield torch.where(drawn, images, before)


def write_animation(
    path: Path, before: Tensor, images: Tensor, order: Tensor, columns: int, stop: Callable[[], bool] = lambda: False
) -> None:
    """Writes an endless GIF of a grid of images, whose pixels appear one after the other.

    ``before`` and ``images``, float (N, C, H, W) in [0, 1], are the images before and after the drawing. Once
    ``stop()`` is true, only the last frame is still written.
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
    """Encodes an endless GIF frame by frame. Pillow's own ``save`` would keep all frames in memory."""

    def __init__(self) -> None:
        self._encoded = io.BytesIO()
        self._shown: Any = None

    def add(self, pixels: Any, duration: int) -> None:
        """``duration`` is in milliseconds. ``pixels`` is uint8, (H, W) or (H, W, 3)."""
        image, plugin, numpy = need("PIL.Image"), need("PIL.GifImagePlugin"), need("numpy")
        changes = numpy.ones(pixels.shape, bool) if self._shown is None else pixels != self._shown
        changed = image.fromarray(changes.reshape(*pixels.shape[:2], -1).any(2))
        # Encodes only the box around all changes, in which unchanged pixels are transparent.
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
    """Gives ``part`` 256 grays, or 255 colours and an index for transparent pixels."""
    if part.mode == "L":
        return part.convert("P")
    part.paste(0, mask=unchanged)
    part = part.convert("P", palette=need("PIL.Image").Palette.ADAPTIVE, colors=255)
    part.putpalette([*part.getpalette(), 0, 0, 0])
    return part
