"""Image files of any kind, read as tensors."""

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

# Scaled until it covers the size, then cut at the centre; scaled to the size; cut at the centre alone.
FITS = ("crop", "squash", "cut")
MAX_PIXELS = 64_000_000  # of a picture, before it is decoded, which takes up to 20 bytes for each


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


def _in_bytes(picture: Any, file_format: str | None) -> Any:
    """The picture with 8 bits a channel and on black; ``convert`` would clip deeper ones, and show hidden colours."""
    image, numpy = need("PIL.Image"), need("numpy")
    # The 16 bits of these formats may come in integers of 32, which hold anything in others.
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_format in ("PNG", "PPM")):
        deep = numpy.array(picture, numpy.uint32)
        return image.fromarray(((deep + 128) // 257).astype(numpy.uint8))  # deep / 257, rounded
    if picture.mode in ("I", "F"):
        raise ValueError(f"expected 8 or 16 bits a channel, got mode {picture.mode}")
    if picture.has_transparency_data:
        black = image.new("RGBA", picture.size, "black")
        return image.alpha_composite(black, picture.convert("RGBA"))
    return picture


@contextmanager
def pixel_limit(pixels: int = MAX_PIXELS) -> Iterator[None]:
    """Within, Pillow refuses larger pictures when it has read their size, also those in a file, as an icon's are."""
    image = need("PIL.Image")
    before, image.MAX_IMAGE_PIXELS = image.MAX_IMAGE_PIXELS, pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image.DecompressionBombWarning)
            yield
    finally:
        image.MAX_IMAGE_PIXELS = before


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Pillow's picture of a file, for a block whose failures are said of the file.

    Raises:
        ValueError: the file is not an image or no regular file, is damaged or truncated, or larger than a
            :func:`pixel_limit` around this; or what the block raised; the sentence names it.
        MemoryError: it does not fit into memory; the sentence names it.
    """
    image = need("PIL.Image")
    try:
        if not stat.S_ISREG(Path(file).stat().st_mode):  # opening a FIFO waits for who writes to it
            raise ValueError("it is no regular file")
        # By name, Pillow would map the file into memory, and turn the rows of some TIFF files into others.
        with open(file, "rb") as stream, image.open(stream) as picture:
            yield picture
    except MemoryError as error:  # the machine's lack, not the file's damage: none to skip
        raise MemoryError(f"{file} does not fit into memory; a lower --max-pixels leaves it out") from error
    # Whatever the bytes of a damaged file lead a decoder of Pillow to.
    except Exception as error:
        raise ValueError(f"{file} cannot be read as an image: {_reason(error)}") from error


def read_image(file: Path, size: tuple[int, int] | None = None, *, fit: str = "crop", gray: bool = False) -> Tensor:
    """An image file as uint8 (C, H, W), C = 1 if ``gray`` else 3, fitted to ``size`` (height, width).

    16 bits a channel are scaled to 8; what is transparent shows black; of an animation it is the first picture.

    Raises:
        ValueError, MemoryError: as :func:`opened`; of 32 bits a channel, or too small for fit="cut", too.
    """
    ops, numpy = need("PIL.ImageOps"), need("numpy")
    with opened(file) as kept:
        picture = _in_bytes(ops.exif_transpose(kept), kept.format).convert("L" if gray else "RGB")
        if size is not None:
            picture = _fitted(picture, size, fit)
        pixels = torch.from_numpy(numpy.array(picture))
    return pixels[None] if gray else pixels.permute(2, 0, 1)


def _reason(error: Exception) -> str:
    """What an exception says, in one line."""
    image = need("PIL.Image")
    if isinstance(error, (image.DecompressionBombWarning, image.DecompressionBombError)):
        number = re.search(r"\d+", str(error))
        got = number.group() if number else "more"
        return f"expected at most {image.MAX_IMAGE_PIXELS} pixels, which --max-pixels can raise, got {got}"
    if isinstance(error, need("PIL").UnidentifiedImageError):  # which names the stream
        return "it is of no format that Pillow knows"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
