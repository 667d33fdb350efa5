"""Writes files and folders completely or not at all. Follows links. Writes directly into devices and pipes."""

import glob
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def is_replaceable(path: Path) -> bool:
    """Returns False for a device, a pipe and standard output. Raises OSError for circular links."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and not _is_standard_output(status)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file beside ``path``, then renames it to ``path``. A link stays a link, and a file keeps its mode.

    Writes directly into a device, a pipe or standard output.

    Raises OSError, and keeps an existing file, if writing fails.
    """
    path, kept = Path(path), ""
    try:
        if is_replaceable(path):
            target = Path(os.path.realpath(path))
            if target.exists():
                kept = "; the one that was there is kept"
            _replace(target, data)
        else:
            _write_into(path, data)
    except OSError as error:
        raise OSError(error.errno, f"{path} could not be written ({error.strerror or error}){kept}") from error


def remove_temporary(folder: Path, names: str = "*") -> None:
    """Removes temporary files that killed processes left. No process may be writing a file that ``names`` matches."""
    for leftover in folder.glob(f".{names}.tmp"):
        with suppress(OSError):
            leftover.unlink()


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields a new folder beside ``path``, and renames it to ``path`` after the block.

    ``path`` is a free name, or an empty folder, which keeps its mode. A link to a folder stays a link. After an error
    the new folder is removed.
    """
    target = Path(os.path.realpath(path))
    temporary, made = _temporary(target), False
    try:
        temporary.mkdir()
        made = True
        yield temporary
        for file in temporary.iterdir():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
        _inherit(temporary, target)
        os.rename(temporary, target)
    except OSError as error:
        raise OSError(error.errno, f"{path} could not be written ({error.strerror or error})") from error
    finally:
        if made:  # an existing folder may belong to another machine of the same name
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes ``folder`` and its parents after the block if the block made them and left them empty."""
    folder = folder.resolve()
    new = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        yield
    finally:
        for above in new:
            with suppress(OSError):
                above.rmdir()


def _temporary(path: Path) -> Path:
    """Returns a temporary name beside ``path``. Removes temporary files of this machine's killed processes."""
    prefix = f".{path.name[:40]}.{platform.node()}."  # cut, because file systems limit the length of a name
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        process = leftover.name.removeprefix(prefix).removesuffix(".tmp")
        if process.isdecimal() and not _is_running(int(process)):
            with suppress(OSError):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return path.with_name(f"{prefix}{os.getpid()}.tmp")


def _replace(path: Path, data: bytes | memoryview) -> None:
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as file:
            _inherit(temporary, path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # keeps the first error, such as a read-only file system
            temporary.unlink(missing_ok=True)


def _inherit(new: Path, old: Path) -> None:
    with suppress(OSError):
        status = os.stat(old)
        with suppress(OSError):
            os.chown(new, status.st_uid, status.st_gid)
        os.chmod(new, stat.S_IMODE(status.st_mode))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _is_standard_output(status: os.stat_result) -> bool:
    try:
        return os.path.samestat(status, os.fstat(1))
    except OSError:
        return False


def _write_into(path: Path, data: bytes | memoryview) -> None:
    target: Path | int = path
    if _is_standard_output(os.stat(path)):  # reopening stdout's file would overwrite its beginning
        sys.stdout.flush()
        target = os.dup(1)
    with open(target, "wb") as stream:
        stream.write(data)
