"""Prepares the process of the command ``pixelrnn`` before torch is imported, and hides tracebacks of failed imports.

This module imports nothing heavy, because Ctrl-C may come in the second or two that importing torch takes.
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
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
# Environment variables for how idle OpenMP threads wait for work.
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def configure_process() -> None:
    """Configures malloc and OpenMP for the process, unless environment variables do. Call it before importing torch."""
    # These thresholds keep freed memory in the process. By default glibc returns freed memory to the system, and new
    # pages take a fifth of the time of a small model's step.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None and not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # larger blocks are mapped one by one, unmapped when freed
        mallopt(_TRIM_THRESHOLD, 512 << 20)
    # Makes an idle thread sleep after 1000 spins. GNU's default of 300,000 spins takes some milliseconds. If another
    # process keeps a core busy, a spinning thread delays the thread that it waits for.
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = "1000"  # OpenMP reads this when torch is imported


def is_bench() -> bool:
    """Returns whether the command is ``bench``, which times layers as in a program that configures nothing."""
    return sys.argv[1:2] == ["bench"]


def running_command() -> str | None:
    """Returns the command of this process, ``pixelrnn`` or ``python -m pixelrnn_ext``; None in another program."""
    if os.path.basename(sys.argv[0]) == "pixelrnn":
        return "pixelrnn"
    # sys.argv[0] is "-m" while Python imports the package to find its __main__ module.
    pairs = pairwise(sys.orig_argv)
    named = any(module == "pixelrnn_ext" and re.fullmatch("-[A-Za-z]*m", option) for option, module in pairs)
    return "python -m pixelrnn_ext" if named and sys.argv[0] == "-m" else None


@contextmanager
def without_traceback(command: str | None) -> Iterator[None]:
    """Ends the process with a message if imports fail or are interrupted. Errors propagate if ``command`` is None."""
    if command is None:
        yield
        return
    handles_sigint = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background job ignores SIGINT
    if handles_sigint:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        from ._sentences import reason  # here, since a benchmark loads this file without the package

        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{command}: {reason(error)}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        if handles_sigint:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(*_: object) -> None:
    """Ends the process without an exception, which torch might catch during its import. No work can be lost yet."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
