"""The options that name what a command writes, usually ``--out``: their definition and their checks."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..training import checkpoint, data, files, output, stored_data
from ..training.drawing import HIDDEN_AREAS
from . import arguments, coding


def add_out(
    parser: ArgumentParser,
    writes: str,
    short: str | None = None,
    flag: str = "--out",
    *,
    help: str,
    metavar: str,
    required: bool = True,
    type: Callable[[str], Path | str] | None = None,
) -> None:
    """Adds ``flag`` as ``options.out``, and ``--force`` unless the output is a new folder.

    ``writes`` is a key of ``REPLACED``. A file may be "-", which is standard output.
    """
    kind = type or (arguments.output_file if writes == "file" else arguments.output_folder)
    flags = (short, flag) if short else (flag,)
    parser.add_argument(*flags, dest="out", type=kind, required=required, metavar=metavar, help=help)
    parser.set_defaults(writes=writes, out_flag=flag)
    if writes != "folder":
        may = f"let {flag} replace an input, a checkpoint or a file of a training"
        parser.add_argument("--force", action="store_true", help=may)


def check_writable(folder: Path, flag: str = "--out") -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"expected {flag} in a folder that can be written to, got {folder}")


def check_file(path: Path, flag: str = "--out") -> None:
    target = Path(os.path.realpath(path))
    creates = files.is_replaceable(path)
    if path.is_dir() or path.is_socket() or (creates and not target.parent.is_dir()):
        raise FileNotFoundError(f"expected {flag} to name a file in a folder that exists, got {path}")
    if creates:
        check_writable(target.parent, flag)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"expected {flag} to name a file that can be written to, got {path}")
    if not creates and os.isatty(1) and path.samefile("/dev/stdout"):
        raise ValueError(f"expected {flag} to name a file or a pipe, got {path}, which is a terminal")


def check_folder(path: Path) -> None:
    """Raises an error unless ``path`` is a new or an empty folder, which ``files.folder_atomically`` can write."""
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"expected --out to be a new or an empty folder, got {path}")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"expected --out to name a folder in one that exists, got {path}")
    if os.path.ismount(target) or target == Path(os.path.realpath(".")):
        raise FileExistsError(f"expected --out to be a folder that can be replaced, got {path}")
    check_writable(target.parent)


def say(line: str, out: Path | None) -> None:
    """Prints a line to stderr if ``--out`` is a pipe, a device or stdout, otherwise to stdout."""
    is_stored = out is None or files.is_replaceable(out) or out.is_dir()
    print(line, file=sys.stdout if is_stored else sys.stderr)


def _data_files(options: Namespace) -> list[Path]:
    if hasattr(options, "checkpoint"):
        trained = checkpoint.resolve(options.checkpoint)
    elif options.resume and (last := output.resume_path(Path(options.out))).exists():
        trained = last
    else:
        return data.paths(options.data or "")
    return stored_data.paths_again(checkpoint.facts_of(trained), options.data)


# The existing files that --out would replace, by the kind of output.
REPLACED: dict[str, Callable[[Path], list[Path]]] = {
    "file": lambda out: [out] if files.is_replaceable(out) and out.exists() else [],
    "folder": lambda out: [],
    "training": output.linked_files,
}
# The files that an option names as inputs, by the option.
INPUTS: dict[str, Callable[[Namespace], Iterable[Path]]] = {
    "checkpoint": lambda options: [checkpoint.resolve(options.checkpoint)],
    "data": _data_files,
    "file": lambda options: [options.file],
    "hide": lambda options: [] if options.hide in HIDDEN_AREAS else [Path(options.hide)],
    "images": lambda options: [path for name in options.images for path in coding.paths(name)],
    "labels": lambda options: [path for name in options.labels for path in coding.paths_of_split(name)],
}


def check(options: Namespace) -> None:
    """Raises FileExistsError if the output would replace an input of the command, a checkpoint or a file of a training.

    A training may replace training files in its own folder, unless the files are inputs of the command.
    """
    if getattr(options, "out", None) is None or getattr(options, "force", False):
        return
    own = output.training_files(Path(options.out)) if options.writes == "training" else []
    for file in (*REPLACED[options.writes](Path(options.out)), *own):
        kind = None if file in own else _protected_kind(file)
        if kind or _is_input(file, options):
            expected = f"expected {options.out_flag} to replace no input, no checkpoint and no file of a training"
            raise FileExistsError(f"{expected}, got {file}, {kind or 'an input of this command'}: --force replaces it")


def _protected_kind(file: Path) -> str | None:
    if checkpoint.is_checkpoint(file):
        return "a checkpoint"
    for path in _link_chain(file):
        if folder := output.training_of(path):
            return f"a file of the training in {folder}"
    return None


def _is_input(file: Path, options: Namespace) -> bool:
    for name, paths in INPUTS.items():
        with suppress(OSError, ValueError):  # the command itself reports an unreadable input
            if hasattr(options, name) and any(os.path.exists(path) and file.samefile(path) for path in paths(options)):
                return True
    return False


def _link_chain(file: Path) -> Iterator[Path]:
    """Yields ``file``, the target of each of its symbolic links, and the fully resolved path."""
    yield file
    while file.is_symlink():
        file = file.parent / os.readlink(file)
        yield file
    yield Path(os.path.realpath(file))
