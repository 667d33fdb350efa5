"""Files that are there whole or not at all, under what they are named: links are followed, devices are written into."""

import glob
import os
import platform
import stat
import sys
from contextlib import suppress
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


def _replace(path: Path, data: bytes | memoryview) -> None:
    mine = f".{path.name[:40]}.{platform.node()}."  # no more of a name, which may be as long as a name can be
    _remove_stale(path.parent, mine)
    temporary = path.with_name(f"{mine}{os.getpid()}.tmp")
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


def _inherit(descriptor: int, path: Path) -> None:
    """Owner and mode of the file that is there, as far as this user and this file system can give them."""
    with suppress(FileNotFoundError):
        status = os.stat(path)
        with suppress(OSError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _remove_stale(folder: Path, mine: str) -> None:
    """What a killed process of this machine left of the same file."""
    for left in folder.glob(f"{glob.escape(mine)}*.tmp"):
        process = left.name.removeprefix(mine).removesuffix(".tmp")
        if process.isdecimal() and not _is_running(int(process)):
            with suppress(OSError):
                left.unlink()


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
