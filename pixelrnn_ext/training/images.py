import io
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .optional import need

# "crop" scales the picture to cover the size, then cuts out the centre. "squash" scales height and width separately.
# "cut" cuts out the centre without scaling.
FITS = ("crop", "squash", "cut")
# Decoding takes up to 20 bytes for each pixel.
MAX_PIXELS = 64_000_000


def _fitted(picture: Any, size: tuple[int, int], fit: str) -> Any:
    image, ops = need("PIL.Image"), need("PIL.ImageOps")
    height, width = size
    if fit == "crop":
        return ops.fit(picture, (width, height), image.Resampling.LANCZOS)
    if fit == "squash":
        return picture.resize((width, height), image.Resampling.LANCZOS)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    if left < 0 or top < 0:
        raise ValueError(f"it is smaller than {height}x{width}")
    return picture.crop((left, top, left + width, top + height))


def _to_8_bits(picture: Any, file_format: str | None) -> Any:
    """Converts a picture to 8 bits a channel, with transparent pixels on black.

    Pillow's own ``convert`` would clip 16-bit values and ignore transparency.
    """
    image, numpy = need("PIL.Image"), need("numpy")
    # Pillow may read 16-bit PNG and PPM files in its mode "I". Pictures of other formats in this mode are refused
    # below, because their values may have any range.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_format in ("PNG", "PPM")):
        deep = numpy.array(picture, numpy.uint32)
        return image.fromarray(((deep + 128) // 257).astype(numpy.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"expected 8 or 16 bits a channel, got mode {picture.mode}")
    if picture.has_transparency_data:
        return image.alpha_composite(image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
    return picture


@contextmanager
def pixel_limit(pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Makes Pillow refuse pictures of more than ``pixels`` pixels within the ``with`` block, before it decodes them."""
    image = need("PIL.Image")
    before, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image.DecompressionBombWarning)
            yield
    finally:
        image.MAX_IMAGE_PIXELS = before


@contextmanager
def open_picture(file: Path | str, content: bytes | None = None) -> Iterator[Any]:
    """Opens an image file, or its ``content``.

    All errors except MemoryError become a ValueError that names the file.
    """
    image = need("PIL.Image")
    try:
        # Opening a FIFO would wait for another process.
        if content is None and not stat.S_ISREG(Path(file).stat().st_mode):
            raise ValueError("it is no regular file")
        # Pillow mixes up rows of some TIFFs that it opens by name.
        with open(file, "rb") if content is None else io.BytesIO(content) as stream, image.open(stream) as picture:
            yield picture
    except MemoryError as error:  # no ValueError, because the file may be intact
        raise MemoryError(f"{file} does not fit into memory; a lower --max-pixels leaves it out") from error
    except Exception as error:  # a damaged file may raise any kind of error
        raise ValueError(f"{file} cannot be read as an image: {_reason(error)}") from error


def read_image(
    file: Path | str,
    size: tuple[int, int] | None = None,
    *,
    fit: str = "crop",
    gray: bool = False,
    content: bytes | None = None,
) -> Tensor:
    """Reads an image file as uint8 (C, H, W), where C is 1 if ``gray`` is true, else 3.

    The image is fitted to ``size`` (height, width) by ``fit``, one of :data:`FITS`. Channels of 16 bits are scaled to 8
    bits. Transparent pixels become black. An animation gives its first picture. If ``content`` has the bytes of the
    file, ``file`` is only its name in errors.

    Raises ValueError if the file has 32 bits a channel, or if the picture is too small for fit="cut".
    """
    ops, numpy = need("PIL.ImageOps"), need("numpy")
    with open_picture(file, content) as original:
        picture = _to_8_bits(ops.exif_transpose(original), original.format).convert("L" if gray else "RGB")
        if size is not None:
            picture = _fitted(picture, size, fit)
        pixels = torch.from_numpy(numpy.array(picture))
    return pixels[None] if gray else pixels.permute(2, 0, 1)


def _reason(error: Exception) -> str:
    image = need("PIL.Image")
    if isinstance(error, (image.DecompressionBombWarning, image.DecompressionBombError)):
        number = re.search(r"\d+", str(error))
        got = number.group() if number else "more"
        return f"expected at most {image.MAX_IMAGE_PIXELS} pixels, which --max-pixels can raise, got {got}"
    if isinstance(error, need("PIL").UnidentifiedImageError):
        return "it is of no format that Pillow knows"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
