"""Reads a folder of pictures, with the split and the class of each.

Split and class depend only on a file's POSIX path in the folder. So the folder may move, and a new file does not change
the splits of other files.
"""

import base64
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from .images import FITS, MAX_PIXELS, pixel_limit, read_image
from .progress import bar

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


class OtherFiles(ValueError):
    """Raised if a folder lacks files on which a model was trained."""


@dataclass(frozen=True)
class Pictures:
    """The images of a folder, and the names of their files.

    ``unreadable`` maps names to reasons. ``left_out`` counts image files that the caller did not ask for.
    """

    names: list[str]
    images: Tensor
    unreadable: dict[str, str]
    left_out: int


def split_of(name: str) -> str:
    """Returns the split of a file, chosen by a hash of its name.

    Example:
        >>> split_of("cats/0.png"), split_of("cats/1.png"), split_of("cats/2.png")
        ('train', 'test', 'validation')
    """
    digest = hashlib.sha256(os.fsencode(name)).digest()
    return {0: "test", 1: "validation"}.get(int.from_bytes(digest[:8], "big") % 10, "train")


def class_of(name: str) -> str:
    return PurePosixPath(name).parent.name or "."


def _walk(folder: str, prefix: str, parents: tuple[tuple[int, int], ...], unreadable: dict[str, str]) -> Iterator[str]:
    """Yields the names of all image files in a folder and its subfolders.

    Follows no links to ``parents``, the folders above this one. Adds to ``unreadable`` why a file or folder cannot be
    read.
    """
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    for entry in list(os.scandir(folder)):
        name = prefix + entry.name
        try:
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}/", (*parents, identity), unreadable)
            elif Path(name).suffix.lower() in SUFFIXES:
                yield name
            elif entry.is_symlink():
                # A broken link is reported as unreadable, even without the suffix of an image file, because it may have
                # led to a folder of images. stat() raises the OSError for this report.
                entry.stat()
        except OSError as error:
            unreadable[name] = f"{entry.path}: {error.strerror}"


def list_names(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Returns the names of all image files, sorted by their bytes, and {name: reason} for all that cannot be read."""
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder of images, got {folder}")
    unreadable: dict[str, str] = {}
    return sorted(_walk(str(folder), "", (), unreadable), key=os.fsencode), unreadable


def read_folder(
    folder: Path,
    size: tuple[int, int],
    *,
    fit: str = "crop",
    gray: bool = False,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
    only: Iterable[str] | None = None,
) -> Pictures:
    """Reads the image files in a folder and its subfolders, or only those with names in ``only``.

    Raises:
        ValueError: a file cannot be read, and ``strict`` is true.
        OtherFiles: a file named in ``only`` is missing or cannot be read.
    """
    if fit not in FITS:
        raise ValueError(f"expected fit to be one of {', '.join(FITS)}, got {fit!r}")
    candidates, unreadable = list_names(folder)
    found = len(candidates)
    if only is not None:
        only = set(only)
        _check_complete(folder, only, candidates, unreadable)
        candidates = [name for name in candidates if name in only]
    elif strict and unreadable:
        raise ValueError(next(iter(unreadable.values())))
    names, images = [], []
    with pixel_limit(max_pixels), bar("files", len(candidates), "reading") as shown:
        for name in candidates:
            shown.update()
            try:
                images.append(read_image(folder / name, size, fit=fit, gray=gray))
            except ValueError as error:
                if strict:
                    raise
                unreadable[name] = str(error)
            else:
                names.append(name)
    if only is not None:
        _check_complete(folder, only, names, unreadable)
    return Pictures(names, torch.stack(images) if images else torch.empty(0), unreadable, found - len(candidates))


def _check_complete(folder: Path, expected: set[str], got: list[str], unreadable: dict[str, str]) -> None:
    missing = expected.difference(got)
    if missing:
        name = min(missing, key=os.fsencode)
        places = (name, *map(str, PurePosixPath(name).parents))
        why = next((unreadable[place] for place in places if place in unreadable), f"{name} is not there")
        training = f"the {len(expected)} files of the training in {folder}"
        raise OtherFiles(f"expected {training}, got {len(missing)} fewer: {why}")


def describe_files(names: list[str]) -> dict[str, int | str]:
    """Returns the number of files, their names in compressed form, and a digest of the names.

    In a folder of only these files, this command prints the digest:

    ``find . -type f -printf '%P\\0' | LC_ALL=C sort -z | sha256sum``.
    """
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    packed = base64.b64encode(zlib.compress(listed)).decode()
    return {"count": len(names), "digest": hashlib.sha256(listed).hexdigest(), "names": packed}


def names_of(files: dict[str, Any]) -> list[str]:
    """Inverts :func:`describe_files`. Raises ValueError if the description is damaged."""
    try:
        listed = zlib.decompress(base64.b64decode(files["names"], validate=True))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"the checkpoint's list of files is damaged: {error}") from error
    if hashlib.sha256(listed).hexdigest() != files.get("digest"):
        raise ValueError("the checkpoint's list of files is damaged: it has another digest")
    return [os.fsdecode(name) for name in listed.split(b"\0")[:-1]]
