"""The folder of a training: the names of its files, and a lock that keeps a second training out."""

import errno
import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .checkpoint import BEST, LAST
from .files import remove_temporary, removed_if_empty
from .journal import EVENTS, LOG
from .optional import MissingPackage, need

LOCK = ".lock"
CURVE = "learning-curve.png"
SAMPLES = "samples-{:07d}.png"
_PATTERNS = LAST, BEST, LOG, CURVE, f"samples-{'[0-9]' * 7}*.png", EVENTS
_NO_LOCKS = errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP
_LOCK_TIMEOUT = 0.2  # seconds to wait for another training's lock


@contextmanager
def locked(folder: Path, command: str = "a training") -> Iterator[None]:
    """Makes a folder for a training, and locks it against other processes within the ``with`` block.

    A crash releases the lock. A process may lock a folder that it has locked already. After the block, an empty folder
    that this call made is removed.

    Raises BlockingIOError if another process holds the lock.
    """
    folder = folder.resolve()
    lock = _lock(folder)
    with removed_if_empty(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if lock.is_locked or not _acquire(lock, folder):
            yield
            return
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder = f"process {os.getpid()} on {platform.node()} since {since}: {command}\n"
            (folder / LOCK).write_bytes(holder.encode(errors="backslashreplace"))
            yield
        finally:
            # Deletes the lock file while the lock is held, because the file may later belong to another training.
            with suppress(OSError):
                (folder / LOCK).unlink()
            lock.release()


def _lock(folder: Path) -> Any:
    filelock = need("filelock")
    try:
        return filelock.FileLock(folder / LOCK, timeout=_LOCK_TIMEOUT, is_singleton=True, fallback_to_soft=False)
    except TypeError as error:  # an old filelock erases the text about the lock's holder
        got = getattr(filelock, "__version__", "an older one")
        raise MissingPackage(f'expected filelock 3.32 or later, got {got}: pip install "filelock>=3.32"') from error


def _acquire(lock: Any, folder: Path) -> bool:
    """Locks a folder. Returns False, with a warning, if the file system has no locks."""
    try:
        lock.acquire()
    except TimeoutError as error:
        holder = "another process"
        with suppress(OSError):
            holder = (folder / LOCK).read_text(errors="replace").strip()[:1000] or holder
        raise BlockingIOError(f"{folder} is being trained in by {holder}") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(f"{folder} is on a file system without locks: nothing keeps two trainings from it", stacklevel=4)
        return False
    return True


def training_files(folder: Path) -> list[Path]:
    return [path for pattern in _PATTERNS for path in sorted(folder.glob(pattern)) if _has_content(path)]


def linked_files(folder: Path) -> list[Path]:
    """Returns files outside the folder that a training would replace through symbolic links."""
    root = os.path.realpath(folder)
    files = [Path(os.path.realpath(path)) for path in training_files(folder)]
    return [file for file in files if not file.is_relative_to(root)]


def training_of(file: Path) -> Path | None:
    """Returns the folder of the training that wrote a file, or None.

    Any picture may be called samples-0000001.png, so the folder must also hold a checkpoint, a log or a lock.
    """
    # Looks two levels up, because TensorBoard's events are in a subfolder.
    for folder in file.absolute().parents[:2]:
        own = [*training_files(folder), *filter(_has_content, [folder / LOCK])]
        if {path.name for path in own} & {LAST, BEST, LOG, LOCK} and any(map(file.samefile, own)):
            return folder
    return None


def _has_content(path: Path) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > 0


def check_unused(folder: Path) -> None:
    if own := training_files(folder):
        names = ", ".join(path.name for path in own[:3])
        ways = "--overwrite to begin anew in its place, or another --out"
        if resume_path(folder).exists():
            ways = f"--resume to go on with it, {ways}"
        raise ValueError(f"{folder} holds a training: expected {ways}, got {names} there")


def clear(folder: Path, keep: str) -> None:
    """The caller must hold the folder's lock."""
    for path in training_files(folder):
        if path.name != keep:
            path.unlink()


def remove_left_over(folder: Path) -> None:
    """Removes half-written files of killed processes. The caller must hold the folder's lock."""
    for pattern in _PATTERNS:
        remove_temporary(folder, f"{pattern}.*")


def resume_path(folder: Path) -> Path:
    last, best = folder / LAST, folder / BEST
    return best if best.exists() and not last.exists() else last
