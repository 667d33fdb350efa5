"""Image files: a folder of any pictures in."""

from pathlib import Path

import torch
from torch import Tensor

from .optional import need

# Scaled until it covers the size, then cut at the centre; scaled to the size; cut at the centre alone.
FITS = ("crop", "squash", "cut")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def _fitted(picture, size, fit):
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


def _in_bytes(picture):
    """The picture with 8 bits a channel and on black; ``convert`` would clip deeper ones, and show hidden colours."""
    image, numpy = need("PIL.Image"), need("numpy")
    if picture.mode.startswith("I;16"):
        return image.fromarray((numpy.array(picture) / 257).round().astype(numpy.uint8))
    if picture.mode in ("I", "F"):
        raise ValueError(f"expected 8 or 16 bits a channel, got mode {picture.mode}")
    if picture.has_transparency_data:
        black = image.new("RGBA", picture.size, "black")
        return image.alpha_composite(black, picture.convert("RGBA"))
    return picture


def read_image(file: Path, size: tuple[int, int] | None = None, *, fit: str = "crop", gray: bool = False) -> Tensor:
    """An image file as uint8 (C, H, W), C = 1 if ``gray`` else 3, fitted to ``size`` (height, width).

    16 bits a channel are scaled to 8; what is transparent shows black.

    Raises:
        ValueError: the file is not an image, is damaged or truncated, of 32 bits a channel, or too small for fit="cut";
            the sentence names it.
    """
    image, ops, numpy = need("PIL.Image"), need("PIL.ImageOps"), need("numpy")
    try:
        with image.open(file) as opened:
            picture = _in_bytes(ops.exif_transpose(opened)).convert("L" if gray else "RGB")
        if size is not None:
            picture = _fitted(picture, size, fit)
        pixels = torch.from_numpy(numpy.array(picture))
    # PIL's plugins raise SyntaxError and others for damaged files.
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    return pixels[None] if gray else pixels.permute(2, 0, 1)


def read_folder(
    folder: Path, size: tuple[int, int], *, fit: str = "crop", gray: bool = False, strict: bool = False
) -> tuple[list[Path], Tensor, int]:
    """The readable image files of a folder and its subfolders, in the order of their names.

    Returns:
        The files, their images uint8 (N, C, H, W), and how many could not be read.

    Raises:
        NotADirectoryError: no such folder. ValueError: a file cannot be read, if ``strict``.
    """
    if fit not in FITS:
        raise ValueError(f"expected fit to be one of {', '.join(FITS)}, got {fit!r}")
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder of images, got {folder}")
    candidates = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    files, images = [], []
    for file in candidates:
        try:
            images.append(read_image(file, size, fit=fit, gray=gray))
        except ValueError:
            if strict:
                raise
        else:
            files.append(file)
    channels = 1 if gray else 3
    stacked = torch.stack(images) if images else torch.empty(0, channels, *size, dtype=torch.uint8)
    return files, stacked, len(candidates) - len(files)
