"""Writes files and folders completely or not at all."""

import glob
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


def is_replaceable(path: Path) -> bool:
    """Returns whether ``path`` does not exist, or is a regular file other than standard output.

    Raises OSError for circular links.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and not _is_standard_output(status)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file completely or not at all, by renaming a temporary file beside ``path``.

    Replaces the target of a symbolic link. The new file has the permissions of the old file. Writes to a device, a pipe
    or standard output directly. Raises OSError if writing fails.
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


def check_numbered(files: Mapping[str, int], numbers: range, before: str, after: str, digits: int = 1) -> None:
    """Raises an error unless each of ``numbers`` has one file, and no file has another number.

    ``files`` maps the name of each file to its number. A missing file's number has at least so many ``digits``, and
    stands between ``before`` and ``after``.
    """
    found: dict[int, str] = {}
    for file, number in sorted(files.items()):
        if number not in numbers or number in found:
            got = f"{file} beside {found[number]}" if number in found else file
            raise ValueError(f"expected one file of each number from {numbers.start} to {numbers.stop - 1}, got {got}")
        found[number] = file
    for number in numbers:
        if number not in found:
            raise FileNotFoundError(f"{before}{number:0{digits}}{after} is missing")


def remove_temporary(folder: Path, names: str = "*") -> None:
    """Removes temporary files and folders of killed processes from a folder.

    ``names`` is a glob pattern. No process may be writing such a file or folder.
    """
    for leftover in folder.glob(f".{names}.tmp"):
        remove(leftover)


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields a new temporary folder, which is renamed to ``path`` after the ``with`` block.

    ``path`` must not exist, or must be an empty folder, whose permissions the new folder gets. If ``path`` is a link,
    the link stays.
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
        if error.errno is None:  # no error of the system, but one that the block has raised itself
            raise
        raise OSError(error.errno, f"{path} could not be written ({error.strerror or error})") from error
    finally:
        # A folder that this call has not made is not removed, because another process may be using it.
        if made:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes ``folder`` and each parent that the ``with`` block has created and left empty."""
    folder = folder.resolve()
    new = [above for above in (folder, *folder.parents) if not above.exists()]
    try:
        yield
    finally:
        for above in new:
            with suppress(OSError):
                above.rmdir()


def _temporary(path: Path) -> Path:
    """Returns a temporary name beside ``path``, after removing what killed processes have left for ``path``."""
    # The temporary name contains only the first 40 characters of the name of ``path``, because file systems limit the
    # length of a file name.
    prefix = f".{path.name[:40]}.{platform.node()}."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        process = leftover.name.removeprefix(prefix).removesuffix(".tmp")
        # In a container that starts again, this process may have the number of the one that was killed.
        if process.isdecimal() and (int(process) == os.getpid() or not _is_running(int(process))):
            remove(leftover)
    return path.with_name(f"{prefix}{os.getpid()}.tmp")


def remove(path: Path) -> None:
    """Removes a file or folder, if that is possible."""
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


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
        # An error in removing must not hide the error in writing.
        with suppress(OSError):
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
    # Opening standard output again would overwrite the beginning of its file.
    if _is_standard_output(os.stat(path)):
        sys.stdout.flush()
        target = os.dup(1)
    with open(target, "wb") as stream:
        stream.write(data)
