"""A GIF that is encoded frame by frame."""

import io
from typing import Any

from .optional import need


class Gif:
    """An animation that repeats for ever, of which only the last frame is kept as pixels; Pillow's ``save`` keeps all.

    Gray frames are exact, the colours that come with a frame are reduced to 255.
    """

    def __init__(self) -> None:
        self._encoded = io.BytesIO()
        self._shown: Any = None

    def add(self, pixels: Any, duration: int) -> None:
        """A frame, a numpy array of uint8, (H, W) or (H, W, 3), shown for ``duration`` milliseconds."""
        image, plugin, numpy = need("PIL.Image"), need("PIL.GifImagePlugin"), need("numpy")
        changes = numpy.ones(pixels.shape, bool) if self._shown is None else pixels != self._shown
        changed = image.fromarray(changes.reshape(*pixels.shape[:2], -1).any(2))
        # What stays as it is is left out, around a box and transparent in it.
        box = changed.getbbox() or (0, 0, 1, 1)
        changed = changed.crop(box)
        stays = need("PIL.ImageChops").invert(changed)
        part = _indexed(image.fromarray(pixels).crop(box), stays)
        options = {"duration": duration, "include_color_table": pixels.ndim == 3}
        counts = part.histogram(changed)
        if 0 in counts:
            options["transparency"] = counts.index(0)
            part.paste(counts.index(0), mask=stays)
        blocks = [] if self._encoded.tell() else plugin.getheader(part, info={"loop": 0})[0]
        self._encoded.write(b"".join(blocks + plugin.getdata(part, box[:2], **options)))
        self._shown = pixels

    def finish(self) -> memoryview:
        """The file."""
        self._encoded.write(b";")
        return self._encoded.getbuffer()


def _indexed(part: Any, stays: Any) -> Any:
    """A part of a frame by a palette: that of gray is the same for all frames, another one has an index to spare, and
    no colours for what stays as it is."""
    if part.mode == "L":
        return part.convert("P")
    part.paste(0, mask=stays)
    part = part.convert("P", palette=need("PIL.Image").Palette.ADAPTIVE, colors=255)
    part.putpalette([*part.getpalette(), 0, 0, 0])
    return part
