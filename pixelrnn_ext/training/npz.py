"""Reads downsampled ImageNet as it is distributed: train_data_batch_1.npz ... and val_data.npz, keys data, labels."""

import zipfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from .optional import need
from .progress import bar


def _read(file: Path, side: int) -> tuple[Tensor, Tensor]:
    numpy = need("numpy")
    try:
        with numpy.load(file) as arrays:
            data, labels = arrays["data"], arrays["labels"]
    # zipfile raises RuntimeError for a compression or encryption that it does not know.
    except (ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"expected an .npz file with data and labels, got {file}: {error}") from error
    if data.dtype != numpy.uint8 or data.shape[1:] != (3 * side * side,):
        raise ValueError(f"expected data of uint8 (N, {3 * side * side}) in {file}, got {data.dtype} {data.shape}")
    whole = labels.dtype.kind in "iu" and labels.shape == data.shape[:1]
    if not whole or not ((labels >= 1) & (labels <= 1000)).all():
        got = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"expected labels from 1 to 1000, one an image, in {file}, got others in {got}")
    images = torch.from_numpy(data).view(-1, 3, side, side)
    return images, torch.from_numpy(labels.astype(numpy.int64)) - 1


def read_imagenet(path: str | None, side: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Returns images, uint8 (N, 3, side, side), and labels in [0, 1000), of the training and validation files."""
    if not path:
        raise ValueError(f"expected imagenet{side}:PATH, got no path")
    folder = Path(path)
    files = sorted(folder.glob("train_data_batch_*.npz"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise FileNotFoundError(f"expected train_data_batch_*.npz in {folder}, got none")
    batches = []
    with bar("files", len(files), "reading") as shown:
        for file in files:
            batches.append(_read(file, side))
            shown.update()
    images, labels = map(torch.cat, zip(*batches))
    return (images, labels), _read(folder / "val_data.npz", side)
