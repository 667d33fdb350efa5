"""Files, and folders of them, that are there whole or not at all, under what they are named: links are followed,
devices are written into."""

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
    """Whether what is written to ``path`` makes a file or replaces one: no device, no pipe, not the standard output.

    Raises:
        OSError: nobody can know, as for links in a circle.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and not _is_standard_output(status)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file beside ``path`` and puts it in its place: whatever fails, a file that was there stays as it was.

    A link stays one, and what it points to is written; a file keeps its mode. What is not replaceable is written into.

    Raises:
        OSError: it cannot be written, for a full disk too; the sentence says that nothing was replaced.
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
    """Removes what processes left that were killed while they wrote files of these names, a pattern, into a folder.

    For one who knows that nobody is writing them.
    """
    for left in folder.glob(f".{names}.tmp"):
        with suppress(OSError):
            left.unlink()


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for a block to write files into, which takes its place when the block has ended:
    whatever fails, what was there stays as it was.

    Args:
        path: what is not there, or an empty folder, which keeps its mode; a link to one stays a link.

    Raises:
        OSError: the block raised one, or the folder cannot take its place; the sentence says that it was not written.
    """
    target = Path(os.path.realpath(path))
    temporary, made = _temporary(target), False
    try:
        temporary.mkdir()
        made = True
        yield temporary
        for file in temporary.iterdir():
            with _descriptor(file) as descriptor:
                os.fsync(descriptor)
        with _descriptor(temporary) as descriptor:
            _inherit(descriptor, target)
        os.rename(temporary, target)
    except OSError as error:
        raise OSError(error.errno, f"{path} could not be written ({error.strerror or error})") from error
    finally:
        if made:  # and not by a process of another machine with this one's name
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes a folder and those above it that were not there before the block, as far as they are empty behind it."""
    folder = folder.resolve()
    new = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        yield
    finally:
        for above in new:
            with suppress(OSError):  # it holds something now, or was not made
                above.rmdir()


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that no other process uses, without what killed ones left of the same."""
    mine = f".{path.name[:40]}.{platform.node()}."  # no more of a name, which may be as long as a name can be
    _remove_stale(path.parent, mine)
    return path.with_name(f"{mine}{os.getpid()}.tmp")


def _replace(path: Path, data: bytes | memoryview) -> None:
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as file:
            _inherit(file.fileno(), path)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # on a read-only file system, whose own error says more
            temporary.unlink(missing_ok=True)


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _inherit(descriptor: int, path: Path) -> None:
    """Owner and mode of the file or folder that is there, as far as this user and this file system can give them."""
    with suppress(FileNotFoundError):
        status = os.stat(path)
        with suppress(OSError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _remove_stale(folder: Path, mine: str) -> None:
    """What a killed process of this machine left of the same file or folder."""
    for left in folder.glob(f"{glob.escape(mine)}*.tmp"):
        process = left.name.removeprefix(mine).removesuffix(".tmp")
        if process.isdecimal() and not _is_running(int(process)):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


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
    except OSError:  # there is none
        return False


def _write_into(path: Path, data: bytes | memoryview) -> None:
    if _is_standard_output(os.stat(path)):  # a file behind it, opened anew, would be written from its beginning
        sys.stdout.flush()
        target: Path | int = os.dup(1)
    else:
        target = path
    with open(target, "wb") as stream:
        stream.write(data)
