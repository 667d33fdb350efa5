"""Reads and writes image files without loss, as the pixel values of a model.

The value v of a model of L levels is the byte round(v * 255 / (L - 1)) in a file.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .files import folder_atomically
from .images import open_picture
from .optional import need

# Formats that ``_bits`` knows. Others may have more than the 8 bits a channel that Pillow reads.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_KINDS = {1: "gray", 3: "RGB"}
# A palette (mode "P") counts as RGB.
_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}
_BITS_PER_SAMPLE, _EXTRA_SAMPLES = 258, 338


def check_model(channels: int, levels: int) -> None:
    if channels not in _KINDS or levels > 256:
        expected = "a model of 1 or 3 channels and at most 256 levels, which pictures have"
        raise ValueError(f"expected {expected}, got {channels} and {levels}")


def read_exact(file: Path, channels: int, levels: int) -> Tensor:
    """Reads an image file without loss. Returns uint8 (channels, H, W).

    Some formats have no gray mode, so a gray model reads colours if red, green and blue are equal in every pixel.

    Raises:
        ValueError: something would be lost, such as colours, transparency or more than 8 bits a channel. Or a byte
            stands for none of the ``levels`` pixel values. Or the model is RGB and the file is gray.
    """
    ops, numpy = need("PIL.ImageOps"), need("numpy")
    check_model(channels, levels)
    with open_picture(file) as picture:
        got = _obstacle(picture, channels)
        if got is None:
            shown = ops.exif_transpose(picture)
            pixels = numpy.array(shown.convert("L" if _CHANNELS[shown.mode] == 1 else "RGB"))
    if got is None and channels == 1 and pixels.ndim == 3:
        red = pixels[..., :1]
        got, pixels = "RGB whose channels differ" if (pixels != red).any() else None, red[..., 0]
    if got is not None:
        kind = _KINDS[channels]
        raise ValueError(f"{file} cannot be kept exactly: expected one {kind} picture of 8 bits a channel, got {got}")
    table = numpy.full(256, -1, numpy.int16)
    table[_bytes_of(levels)] = numpy.arange(levels)
    values = table[pixels]
    if (values < 0).any():
        expected = f"the {levels} bytes that the model's levels are, round(v * 255 / {levels - 1})"
        raise ValueError(f"{file} cannot be kept exactly: expected {expected}, got {pixels[values < 0].flat[0]}")
    image = torch.from_numpy(values.astype(numpy.uint8))
    return image[None] if channels == 1 else image.permute(2, 0, 1)


def encode_png(image: Tensor, levels: int) -> bytes:
    """Encodes an image, integers (C, H, W), so that :func:`read_exact` reads the same values."""
    check_model(len(image), levels)
    picture = need("PIL.Image").fromarray(pixels_of(image, levels))
    if levels == 2 and len(image) == 1:
        # Converts the picture to one bit a pixel. Pillow dithers here, but dithering does not change black and white
        # pixels.
        picture = picture.convert("1")
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()


def write_numbered(folder: Path, images: Iterable[Tensor], count: int, levels: int) -> None:
    """Writes ``count`` images as PNG files to a new folder. The names, such as 07.png, are numbers of equal length."""
    digits = len(str(count - 1))
    with folder_atomically(folder) as made:
        for number, image in enumerate(images):
            (made / f"{number:0{digits}}.png").write_bytes(encode_png(image, levels))


def pixels_of(image: Tensor, levels: int) -> Any:
    index = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return _bytes_of(levels)[index.numpy()]


def _bytes_of(levels: int) -> Any:
    numpy = need("numpy")
    return numpy.array([round(v * 255 / (levels - 1)) for v in range(levels)], numpy.uint8)


def _obstacle(picture: Any, channels: int) -> str | None:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        return f"{frames} pictures in one file"
    if picture.has_transparency_data:
        return "transparency"
    if picture.mode not in _CHANNELS:
        return f"mode {picture.mode}"
    if picture.format not in FORMATS:
        return f"the format {picture.format}, which may have had more bits"
    bits = _bits(picture)
    if bits > 8:
        return f"{bits} bits"
    if picture.format == "TIFF" and _EXTRA_SAMPLES in picture.tag_v2:
        return "another channel"
    if _CHANNELS[picture.mode] < channels:
        return _KINDS[_CHANNELS[picture.mode]]
    return None


def _bits(picture: Any) -> int:
    """Returns the bits of a channel in the file, of which Pillow reads at most 8."""
    # A TIFF file with a palette counts as 16 bits, because its palette has 16 bits a channel.
    if picture.format == "TIFF":
        return 16 if picture.mode == "P" else max(picture.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    if picture.format not in ("PNG", "PPM"):
        return 8
    # The file's mode, such as "RGB;16B" for 16 bits a channel, or the largest value of a PPM file.
    arguments = picture.tile[0][3]
    if isinstance(arguments, str):
        return 16 if arguments.endswith(";16B") else 8
    return max(value.bit_length() for value in arguments if isinstance(value, int))
