"""Keeps the tensors of a data set in files that processes map into memory.

A store is made once, from files of another format such as PNG. A process that maps a store reads only the pages that it
uses. All processes of a machine share these pages, and the system drops them when memory runs short.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .files import folder_atomically, remove, remove_temporary
from .optional import need

FACTS = "store.json"
# Without MAP_NORESERVE, which Python 3.10 does not name, Linux refuses a private mapping larger than the memory.
_PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_NORESERVE", 0)

Add = Callable[[str, Tensor], None]
# Passes rows of tensors to a function ``add(name, rows)``, and returns facts for JSON.
Convert = Callable[[Add], dict[str, Any]]


@dataclass(frozen=True)
class Store:
    """Tensors by name, and the facts that the conversion returned.

    ``known_sha256`` is the ``sha256`` that the conversion computed, or None if the tensors are in memory only.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    known_sha256: str | None = None

    @cached_property
    def sha256(self) -> str:
        """A digest of names, types, shapes and bytes of the tensors. It is the same in memory and in files."""
        return self.known_sha256 or _fingerprint(
            {
                name: _described(tensor, len(tensor)) | dict(sha256=hashlib.sha256(_bytes(tensor)).hexdigest())
                for name, tensor in self.tensors.items()
            }
        )


def in_memory(convert: Convert) -> Store:
    rows: dict[str, list[Tensor]] = {}
    facts = convert(lambda name, tensor: rows.setdefault(name, []).append(tensor))
    return Store({name: torch.cat(parts) for name, parts in rows.items()}, facts)


def find(cache: Path, key: object) -> Store | None:
    """Returns the store of ``key`` in the folder ``cache``. Returns None if it is missing or damaged.

    A store counts as damaged if its description or the size of a file is wrong. The bytes of images are not checked.
    """
    folder = _folder(cache, key)
    try:
        described = json.loads((folder / FACTS).read_text())
        tensors = {name: _map(folder / name, **spec) for name, spec in described["tensors"].items()}
        is_whole = described["sha256"] == _fingerprint(described["tensors"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Store(tensors, described["facts"], described["sha256"]) if is_whole else None


def find_or_make(cache: Path, key: object, prepare: Callable[[], tuple[int, Convert]]) -> Store:
    """Returns the store of ``key`` in the folder ``cache``, which is made if it is missing or damaged.

    If several processes need the same store, one makes it and the others wait. After an error or Ctrl-C nothing of a
    new store remains.

    Args:
        key: describes the source and the options of the conversion, as JSON. Another key makes another store.
        prepare: returns the number of bytes that the store needs, and the conversion.

    Raises:
        OSError: the disk of ``cache`` has too little space, or cannot be written to.

    Example:
        >>> def convert(add):
        ...     add("images", torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
        ...     return {"skipped": 0}
        >>> import tempfile
        >>> find_or_make(Path(tempfile.mkdtemp()), ["zeros"], lambda: (32, convert)).tensors["images"].shape
        torch.Size([2, 1, 4, 4])
    """
    if found := find(cache, key):
        return found
    folder = _folder(cache, key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder.parent if folder.parent.is_file() else cache, error) from error
    with _locked(folder.with_name(f"{folder.name}.lock")) as is_alone:
        if found := find(cache, key):
            return found
        if is_alone:
            remove_temporary(folder.parent, f"{folder.name}.*")
        remove(folder)
        size, convert = prepare()
        free = shutil.disk_usage(folder.parent).free
        if size > free:
            expected = f"{size / 1e6:,.0f} MB of free space in {folder.parent} for the converted images"
            raise OSError(f"expected {expected}, got {free / 1e6:,.0f} MB: --cache DIR names another place")
        try:
            with folder_atomically(folder) as temporary:
                _write(temporary, key, convert)
        except _SourceError as error:
            raise error.original from None
        except OSError as error:
            # Without locks, another process may have made the store meanwhile.
            if not find(cache, key):
                raise _unwritable(cache, error) from error
    found = find(cache, key)
    if found is None:
        raise OSError(f"expected the store that was written in {folder}, got another or a damaged one")
    return found


def _unwritable(cache: Path, error: OSError) -> OSError:
    got = f"{cache}, which could not be written ({os.strerror(error.errno or 0)})"
    return OSError(error.errno, f"expected a place for the converted images, got {got}: --cache DIR names another one")


class _SourceError(Exception):
    """Carries an OSError of reading past folder_atomically, which would report it as an error of writing."""

    def __init__(self, original: OSError) -> None:
        self.original = original


class _Writer:
    """Appends rows of named tensors to the files of a folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.tensors: dict[str, dict[str, Any]] = {}
        self.error: OSError | None = None
        self._folder, self._stack = folder, stack
        self._open: dict[str, tuple[BinaryIO, Any]] = {}

    def add(self, name: str, rows: Tensor) -> None:
        try:
            if name not in self._open:
                self._open[name] = self._stack.enter_context((self._folder / name).open("wb")), hashlib.sha256()
                self.tensors[name] = _described(rows, 0)
            file, digest = self._open[name]
            shape = self.tensors[name]["shape"]
            assert shape[1:] == list(rows.shape[1:])
            content = _bytes(rows)
            file.write(content)
        except OSError as error:
            self.error = error
            raise
        digest.update(content)
        shape[0] += len(rows)

    def finish(self) -> None:
        for name, (_, digest) in self._open.items():
            self.tensors[name]["sha256"] = digest.hexdigest()


def _write(folder: Path, key: object, convert: Convert) -> None:
    with ExitStack() as stack:
        writer = _Writer(folder, stack)
        try:
            facts = convert(writer.add)
        except OSError as error:
            if error is writer.error:
                raise
            raise _SourceError(error) from error
        writer.finish()
    described = dict(key=key, tensors=writer.tensors, facts=facts, sha256=_fingerprint(writer.tensors))
    (folder / FACTS).write_text(json.dumps(described))


def _described(rows: Tensor, count: int) -> dict[str, Any]:
    return dict(dtype=str(rows.dtype).removeprefix("torch."), shape=[count, *rows.shape[1:]])


def _bytes(rows: Tensor) -> memoryview:
    return rows.contiguous().numpy().data


def _fingerprint(tensors: dict[str, dict[str, Any]]) -> str:
    return digest_of(sorted(tensors.items()))


def digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _folder(cache: Path, key: object) -> Path:
    return cache / "stores" / digest_of(key)[:32]


def _map(file: Path, dtype: str, shape: list[int], sha256: str) -> Tensor:
    """Maps a file as a tensor. A write to the tensor changes only this process's copy of a page, never the file."""
    kind = getattr(torch, dtype)
    size = math.prod(shape) * kind.itemsize
    if file.stat().st_size != size:
        raise ValueError(f"expected {size} bytes in {file}, got {file.stat().st_size}")
    if not size:
        return torch.empty(shape, dtype=kind)
    with open(file, "rb") as opened:
        pages = mmap.mmap(opened.fileno(), size, flags=_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return torch.frombuffer(pages, dtype=kind).view(shape)


@contextmanager
def _locked(file: Path) -> Iterator[bool]:
    """Yields whether this process is the only one in the ``with`` block, which it is not sure of without locks."""
    lock = need("filelock").FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        # Without locks, processes may make the same store at once, and keep the one that is complete first.
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def stamps(files: list[Path]) -> list[tuple[str, int, int] | tuple[str]]:
    """Returns the path, size and time of change of each file, by which a changed file is noticed."""
    found: list[tuple[str, int, int] | tuple[str]] = []
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            found.append((str(file),))
        else:
            found.append((str(file), status.st_size, status.st_mtime_ns))
    return found
