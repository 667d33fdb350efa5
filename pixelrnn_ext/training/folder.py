"""Reads a folder of pictures, with the split and the class of each.

Split and class depend only on a file's POSIX path in the folder. So the folder may move, and a new file does not change
the splits of other files.
"""

import base64
import hashlib
import json
import math
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from .decoding import decoded
from .files import write_atomically
from .images import MAX_PIXELS, pixel_limit, read_image
from .progress import bar
from .store import Add, Store, digest_of, find, find_or_make, in_memory, stamps

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
IN_MEMORY = 2**30  # bytes of a folder's images from which on they become a store
INDEXED = 10_000  # names from which on the list of a folder's files is kept
SETTLED = 2  # seconds since the last change of a folder whose list is kept


class OtherFiles(ValueError):
    """Raised if a folder lacks files on which a model was trained."""


@dataclass(frozen=True)
class Pictures:
    """The names of a folder's image files, and a store of their images, one tensor for each split that has images.

    ``unreadable`` maps names to reasons. ``left_out`` counts image files that the caller did not ask for.
    """

    names: list[str]
    store: Store
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


def _walk(
    folder: str,
    prefix: str,
    parents: tuple[tuple[int, int], ...],
    unreadable: dict[str, str],
    folders: dict[str, int],
) -> Iterator[str]:
    """Yields the names of all image files in a folder and its subfolders.

    Follows no links to ``parents``, the folders above this one. Adds to ``unreadable`` why a file or folder cannot be
    read, and to ``folders`` the time when each folder changed.
    """
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    folders[folder] = status.st_mtime_ns
    for entry in list(os.scandir(folder)):
        name = prefix + entry.name
        try:
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}/", (*parents, identity), unreadable, folders)
            elif Path(name).suffix.lower() in SUFFIXES:
                yield name
            elif entry.is_symlink():
                # A broken link is reported as unreadable, even without the suffix of an image file, because it may have
                # led to a folder of images. stat() raises the OSError for this report.
                entry.stat()
        except OSError as error:
            unreadable[name] = f"{entry.path}: {error.strerror}"


def list_names(folder: Path, cache: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """Returns the names of all image files, sorted by their bytes, and {name: reason} for all that cannot be read.

    The names in a large folder are kept in ``cache``, and taken from there while the time of change of the folder and
    of its subfolders is the same. A file that is added, removed or renamed changes this time, new content does not.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder of images, got {folder}")
    index = cache and cache / "folders" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"
    if index and (indexed := _read_index(index)) is not None:
        return indexed, {}
    unreadable: dict[str, str] = {}
    folders: dict[str, int] = {}
    began = time.time_ns()
    names = sorted(_walk(str(folder), "", (), unreadable, folders), key=os.fsencode)
    # A later change at the same tick of the clock would leave a folder's time of change as it is.
    is_settled = max(folders.values()) < began - SETTLED * 10**9
    if index and len(names) >= INDEXED and is_settled and not unreadable:
        with suppress(OSError):
            index.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(index, json.dumps(dict(folders=folders, names=names)).encode())
    return names, unreadable


def _read_index(file: Path) -> list[str] | None:
    try:
        index = json.loads(file.read_bytes())
        is_same = all(os.stat(folder).st_mtime_ns == changed for folder, changed in index["folders"].items())
        return index["names"] if is_same else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _decode(
    folder: Path, names: list[str], size: tuple[int, int], fit: str, gray: bool, max_pixels: int, numbers: range
) -> list[Any]:
    """Returns the pixels of some files as numpy arrays. A file that cannot be read is a string that says why."""
    found: list[Any] = []
    with pixel_limit(max_pixels):
        for number in numbers:
            try:
                found.append(read_image(folder / names[number], size, fit=fit, gray=gray).numpy())
            except ValueError as error:
                found.append(str(error))
    return found


def read_folder(
    folder: Path,
    size: tuple[int, int],
    *,
    cache: Path,
    fit: str = "crop",
    gray: bool = False,
    strict: bool = False,
    max_pixels: int = MAX_PIXELS,
    only: Iterable[str] | None = None,
    workers: int = 0,
) -> Pictures:
    """Reads the image files in a folder and its subfolders, or only those with names in ``only``.

    Images of more than IN_MEMORY bytes become a store in ``cache``. ``workers`` processes decode the files.

    Raises:
        ValueError: a file cannot be read, and ``strict`` is true.
        OtherFiles: a file named in ``only`` is missing or cannot be read.
    """
    listed, unreadable = list_names(folder, cache)
    candidates = listed
    if only is not None:
        only = set(only)
        _check_complete(folder, only, listed, unreadable)
        candidates = [name for name in listed if name in only]
    elif strict and unreadable:
        raise ValueError(next(iter(unreadable.values())))

    def convert(add: Add) -> dict[str, Any]:
        names, skipped = [], {}
        decode = partial(_decode, folder, candidates, size, fit, gray, max_pixels)
        with bar("files", len(candidates), "reading") as shown:
            for name, pixels in zip(candidates, decoded(len(candidates), decode, workers)):
                shown.update()
                if not isinstance(pixels, str):
                    add(split_of(name), torch.from_numpy(pixels)[None])
                    names.append(name)
                elif strict:
                    raise ValueError(pixels)
                else:
                    skipped[name] = pixels
        if only is not None:
            _check_complete(folder, only, names, unreadable | skipped)
        return dict(names=names, skipped=skipped)

    def key(names: list[str]) -> list[Any]:
        stamped = digest_of(stamps([folder / name for name in names]))
        return ["folder", str(folder), stamped, list(size), fit, gray, max_pixels]

    needed = len(candidates) * (1 if gray else 3) * math.prod(size)
    if needed <= IN_MEMORY:
        store = in_memory(convert)
    else:
        # The training's own store has the key of all files, because the training found out which ones are unreadable.
        whole = None if only is None else find(cache, key(listed))
        if whole and set(whole.facts["names"]) == only:
            store = whole
        else:
            store = find_or_make(cache, key(candidates), lambda: (needed, convert))
        if strict and only is None and store.facts["skipped"]:
            raise ValueError(next(iter(store.facts["skipped"].values())))
    if only is None:
        unreadable |= store.facts["skipped"]
    return Pictures(store.facts["names"], store, unreadable, len(listed) - len(candidates))


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
