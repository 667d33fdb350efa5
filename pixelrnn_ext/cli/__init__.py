"""The command line of this package: ``pixelrnn``, or ``python -m pixelrnn_ext``.

The exit status is 0 for success, 2 for an error, and 130 after Ctrl-C. It is 1 if ``bench`` finds that a layer computes
wrong numbers, or ``check`` finds a leak.
"""

import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .._command import FAILED, INTERRUPTED
from .._sentences import reason, sentence
from ..training.distributed import LostProcess, ProcessError
from ..training.interrupt import SIGNALS, ignore_signals, is_main_thread
from ..training.optional import MissingPackage
from . import outputs
from .parser import make

__all__ = ["main"]


def main(argv: list[str] | None = None, prog: str = "pixelrnn", *, ends_process: bool = False) -> int:
    """Runs a command, and returns the exit status.

    With ``ends_process``, the process ignores SIGINT and SIGTERM after the command, so that the exit status stays.
    """
    argv = sys.argv[1:] if argv is None else argv
    # Makes Python escape the characters that the terminal cannot show, as Python does by default on stderr.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = make(prog).parse_args(argv)
        command = f"{_torchrun_command() or prog} {shlex.join(argv)}"
        outputs.check(options)
        threads = _threads(getattr(options, "threads", None))
        with _one_line_warnings(prog), _terminates_by_interrupt(ends_process), threads:
            return int(options.run(options, command, argv[1:]))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except ProcessError as error:
        # The first process prints an error of all. If the first one may be lost, the second one prints, too.
        if os.environ["RANK"] in ("0", "1" if isinstance(error, LostProcess) else "0"):
            print(f"{prog}: {sentence(error)}", file=sys.stderr)
        return FAILED
    except (OSError, TypeError, ValueError, RuntimeError, FloatingPointError, MemoryError, MissingPackage) as error:
        # An error usually occurs in all processes of a training, so only the first process of a machine prints it. A
        # RuntimeError may occur in only one process, so every process prints it.
        if os.environ.get("LOCAL_RANK", "0") == "0" or isinstance(error, RuntimeError):
            print(f"{prog}: {sentence(error)}", file=sys.stderr)
        return FAILED


@contextmanager
def _one_line_warnings(prog: str) -> Iterator[None]:
    """Prints each Python warning as one line, in the first process of a machine."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{prog}: {reason(message)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Gives torch and the kernels ``count`` threads of the CPU. None leaves their number as it is."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _terminates_by_interrupt(ends_process: bool) -> Iterator[None]:
    """Makes SIGTERM end a command as Ctrl-C does, so that it keeps what is finished. A scheduler sends SIGTERM."""
    if not is_main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if ends_process:
            ignore_signals()
        else:
            for number, handler in before.items():
                if handler is not None:  # None is a handler that C code has set
                    signal.signal(number, handler)


def _torchrun_command() -> str | None:
    """Returns the torchrun command that started this process, without pixelrnn's arguments, or None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    machines, processes = int(os.environ["GROUP_WORLD_SIZE"]), os.environ["LOCAL_WORLD_SIZE"]
    nodes = f"--nnodes {machines} " if machines > 1 else ""
    return f"torchrun {nodes}--nproc-per-node {processes} -m pixelrnn_ext"
