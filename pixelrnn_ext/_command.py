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
    # Makes glibc keep freed memory. By default glibc returns it to the operating system, and getting memory again takes
    # a fifth of the time of a small model's step.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        # A block of 32 MiB or more still returns to the operating system when it is freed.
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 512 << 20)
    # Makes an idle OpenMP thread sleep after 1000 spins instead of GNU's default, 300,000. If another process keeps a
    # core busy, a spinning thread may take the core of a thread that has work.
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = "1000"  # OpenMP reads this variable when torch is imported


def is_bench() -> bool:
    """Returns whether this process runs ``pixelrnn bench``.

    A benchmark keeps the default malloc and OpenMP, because users' own programs run with them.
    """
    return sys.argv[1:2] == ["bench"]


def running_command() -> str | None:
    """Returns ``pixelrnn`` or ``python -m pixelrnn_ext`` if this command is being run, otherwise None."""
    if os.path.basename(sys.argv[0]) == "pixelrnn":
        return "pixelrnn"
    # While Python imports the package for ``-m pixelrnn_ext``, sys.argv[0] is only "-m". The name of the module is in
    # sys.orig_argv.
    pairs = pairwise(sys.orig_argv)
    named = any(module == "pixelrnn_ext" and re.fullmatch("-[A-Za-z]*m", option) for option, module in pairs)
    return "python -m pixelrnn_ext" if named and sys.argv[0] == "-m" else None


@contextmanager
def without_traceback(command: str | None) -> Iterator[None]:
    """Context manager for imports. A failed import ends the process with a one-line message, without a traceback.

    The message begins with ``command``. If ``command`` is None, errors propagate as usual.
    """
    if command is None:
        yield
        return
    # Installs no handler if the process ignores Ctrl-C (SIGINT), as a shell's background job does.
    handles_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handles_sigint:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        from ._sentences import reason  # imported only here, because a benchmark loads this file outside pixelrnn_ext

        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{command}: {reason(error)}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        if handles_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(*_: object) -> None:
    """Ends the process when the user presses Ctrl-C during the imports.

    An exception would not be enough, because torch's own modules might catch it.
    """
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
