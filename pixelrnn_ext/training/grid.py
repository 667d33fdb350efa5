import io
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from .files import is_replaceable, write_atomically
from .optional import need

# Small images are magnified by a whole number, until their longer side has about SIDE pixels. MARGIN pixels separate
# the images of a grid, and are GRAY.
SIDE, MARGIN, GRAY = 64, 2, 128
# Pillow's name of a format, options for the best quality, and the longest side in pixels.
_Format = tuple[str, dict[str, Any], int]
_JPEG: _Format = ("JPEG", dict(quality=100, subsampling=0), 65_500)
MAX_PIXELS = 2**30  # of a picture, which takes 3 bytes for each
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
    image = need("PIL.Image")
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
    got = "x".join(map(str, sides))
    if max(sides) > longest:
        raise ValueError(f"expected a picture of sides up to {longest}, as {name} can have, got one of {got}: {path}")
    if math.prod(sides) > MAX_PIXELS:
        raise ValueError(f"expected a picture of at most {MAX_PIXELS} pixels, got one of {got}: {path}")


def write_grid(path: Path, images: Tensor, columns: int) -> None:
    path = Path(path)
    name, options, _ = _format_of(path)
    encoded = io.BytesIO()
    need("PIL.Image").fromarray(picture(images, columns)).save(encoded, name, **options)
    write_atomically(path, encoded.getbuffer())


def picture(images: Tensor, columns: int) -> Any:
    """Returns the picture of a grid, uint8 (height, width, 3). A single image has no margin."""
    zoom = _zoom(*images.shape[-2:])
    images = images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
    images = images.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)
    count, height, width, _ = images.shape
    if count == 1:
        return images[0].numpy()
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    # Each image has its margin at the top and at the left. The picture's other two margins follow.
    cells = torch.full((rows * columns, height + MARGIN, width + MARGIN, 3), GRAY, dtype=torch.uint8)
    cells[:count, MARGIN:, MARGIN:] = images
    grid = cells.unflatten(0, (rows, columns)).transpose(1, 2).flatten(2, 3).flatten(0, 1)
    return pad(grid, (0, 0, 0, MARGIN, 0, MARGIN), value=GRAY).numpy()
