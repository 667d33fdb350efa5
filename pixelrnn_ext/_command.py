"""Prepares the process of the command ``pixelrnn`` before torch is imported, and hides tracebacks of failed imports.

This module handles Ctrl-C during the import of torch, so it imports only Python's standard library.
"""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

FAILED, INTERRUPTED = 2, 130
# The option numbers of mallopt(), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Environment variables that tell OpenMP how long an idle thread spins before it sleeps.
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def configure_process() -> None:
    """Configures malloc and OpenMP for this process. Must be called before torch is imported.

    Changes no setting that the user has made by an environment variable.
    """
    # Keeps freed memory in this process, because allocating it anew takes a fifth of the time of a small model's step.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        # Freed blocks of 32 MiB or more still return to the operating system.
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 512 << 20)
    # GNU's default is 300,000 spins. If another process keeps a core busy, a spinning thread may take the core of a
    # thread that has work.
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = "1000"  # OpenMP reads this variable when torch is imported


def is_bench() -> bool:
    """Returns whether this process runs ``pixelrnn bench``.

    A benchmark keeps the default settings of malloc and OpenMP, because users' own programs have these settings, too.
    """
    return sys.argv[1:2] == ["bench"]


def running_command() -> str | None:
    if os.path.basename(sys.argv[0]) == "pixelrnn":
        return "pixelrnn"
    # While Python imports the package for ``-m pixelrnn_ext``, sys.argv[0] is only "-m", so the name of the module is
    # taken from sys.orig_argv.
    pairs = pairwise(sys.orig_argv)
    named = any(module == "pixelrnn_ext" and re.fullmatch("-[A-Za-z]*m", option) for option, module in pairs)
    return "python -m pixelrnn_ext" if named and sys.argv[0] == "-m" else None


@contextmanager
def without_traceback(command: str | None) -> Iterator[None]:
    """Ends the process with one line, without a traceback, if an import in the ``with`` block fails.

    If ``command`` is None, errors propagate as usual.
    """
    if command is None:
        yield
        return
    # If a shell has started this process in the background, the process ignores SIGINT. It then gets no handler, so
    # that Ctrl-C still does not end it.
    handles_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handles_sigint:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        from ._sentences import reason  # not at the top, because benchmarks/harness/alone.py loads this file alone

        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{command}: {reason(error)}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        if handles_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(*_: object) -> None:
    """Ends the process at once, because torch's own modules might catch an exception."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
