import io
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .files import is_replaceable, write_atomically
from .optional import need

# Small images are magnified by a whole number, until their longer side has about SIDE pixels. MARGIN pixels separate
# the images of a grid.
SIDE, MARGIN = 64, 2
# Pillow's name of a format, options for the best quality, and the longest side in pixels.
_Format = tuple[str, dict[str, Any], int]
_JPEG: _Format = ("JPEG", dict(quality=100, subsampling=0), 65_500)
ANIMATED = ".gif"
FORMATS: dict[str, _Format] = {
    ".png": ("PNG", {}, 2**31 - 1),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": ("WEBP", dict(lossless=True), 16_383),
    ANIMATED: ("GIF", {}, 65_535),
}


def _format_of(path: Path, *, animate: bool = False) -> _Format:
    """Returns the format of a path's suffix. Without a suffix, it is GIF if ``animate`` is true, else PNG."""
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        if animate and suffix != ANIMATED:
            raise ValueError(f"expected an animation's name to end in {ANIMATED}, got {path}")
        return FORMATS[suffix]
    if suffix and is_replaceable(path):
        raise ValueError(f"expected a picture's name to end in {', '.join(FORMATS)}, got {path}")
    return FORMATS[ANIMATED if animate else ".png"]


def _zoom(height: int, width: int) -> int:
    return max(1, SIDE // max(height, width))


def check_format(path: Path, *, animate: bool = False) -> None:
    image, _ = need("PIL.Image"), need("torchvision.utils")
    image.init()
    name, *_ = _format_of(path, animate=animate)
    if name not in image.SAVE:
        raise ValueError(f"expected a picture that Pillow can write here, got {path}: it was built without {name}")


def check_size(path: Path, count: int, columns: int, height: int, width: int, *, animate: bool = False) -> None:
    name, _, longest = _format_of(path, animate=animate)
    columns = min(columns, count)
    zoom = _zoom(height, width)
    rows = math.ceil(count / columns)
    sides = [images * (zoom * side + MARGIN) + MARGIN for images, side in ((rows, height), (columns, width))]
    if max(sides) > longest:
        got = "x".join(map(str, sides))
        raise ValueError(f"expected a picture of sides up to {longest}, as {name} can have, got one of {got}: {path}")


def write_grid(path: Path, images: Tensor, columns: int) -> None:
    path = Path(path)
    name, options, _ = _format_of(path)
    encoded = io.BytesIO()
    need("PIL.Image").fromarray(picture(images, columns)).save(encoded, name, **options)
    write_atomically(path, encoded.getbuffer())


def picture(images: Tensor, columns: int) -> Any:
    """Returns the picture of a grid, uint8 (height, width, 3)."""
    zoom = _zoom(*images.shape[-2:])
    images = images.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    grid = need("torchvision.utils").make_grid(images, columns, padding=MARGIN, pad_value=0.5)
    return grid.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
