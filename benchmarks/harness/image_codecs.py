"""Lossless image codecs, such as PNG, with which bench_codec.py compares our codec."""

import io
import lzma
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from PIL import Image, features

try:
    import pillow_jxl  # noqa: F401  # lets Pillow read and write JPEG XL
except ImportError:
    JPEG_XL = False
else:
    JPEG_XL = True

Pixels = numpy.ndarray  # uint8 (height, width) if gray, or (height, width, 3)


@dataclass(frozen=True)
class ImageCodec:
    """An image codec. ``decode`` also takes whether the image was gray, since some file formats do not store this."""

    name: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, bool], Pixels]


def available() -> list[ImageCodec]:
    codecs = [_pillow_codec("PNG", "PNG", optimize=True)]
    if features.check("webp"):
        codecs.append(_pillow_codec("WebP, lossless", "WEBP", lossless=True, quality=100, method=6, exact=True))
    if JPEG_XL:
        codecs.append(_pillow_codec("JPEG XL, effort 9", "JXL", lossless=True, effort=9, num_threads=1))
    return codecs


def _pillow_codec(name: str, kind: str, **options) -> ImageCodec:
    def encode(pixels: Pixels) -> bytes:
        picture, file = Image.fromarray(pixels), io.BytesIO()
        if kind == "PNG" and _is_binary(pixels):
            picture = picture.convert("1")
        picture.save(file, kind, **options)
        return file.getvalue()

    def decode(data: bytes, gray: bool) -> Pixels:
        with Image.open(io.BytesIO(data)) as picture:
            return numpy.array(picture.convert("L" if gray else "RGB"))

    return ImageCodec(name, encode, decode)


def xz(images: list[Pixels]) -> bytes:
    pixels = numpy.stack(images)
    packed = numpy.packbits(pixels) if _is_binary(pixels) else pixels
    return lzma.compress(packed.tobytes(), preset=9 | lzma.PRESET_EXTREME)


def mosaic(images: list[Pixels]) -> Pixels:
    rows = max(n for n in range(1, int(len(images) ** 0.5) + 1) if len(images) % n == 0)
    stacked = numpy.stack(images)
    return numpy.concatenate([numpy.concatenate(list(row), 1) for row in numpy.split(stacked, rows)], 0)


def _is_binary(pixels: Pixels) -> bool:
    return bool(((pixels == 0) | (pixels == 255)).all())
