"""The command before torch is imported: it ends with a sentence and a status, no traceback.

Imports nothing heavy, since the second or two that torch takes is when Ctrl-C comes.
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


# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# How threads wait for work, in the environment: of OpenMP, of GNU's and of LLVM's.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def own_process() -> None:
    """What a program may ask for and a library may not, before torch is imported."""
    keep_pages()
    wait_briefly()


def keep_pages() -> None:
    """Lets glibc keep the memory of maps from one step of a training to the next.

    It gives blocks back to the system as soon as they are free, and new pages cost a small model a fifth of its step.
    No other C library is asked, and none where the environment decides.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # what is larger has a mapping of its own, and goes back
        mallopt(_TRIM_THRESHOLD, 512 << 20)


def wait_briefly() -> None:
    """Lets a thread without work sleep after 1000 spins, where GNU's OpenMP has 300,000, some milliseconds.

    While another process keeps a core busy, who spins takes the time of the very thread that it waits for. OpenMP reads
    this when torch is imported. The processes that this one starts inherit it, those that load data, which is harmless.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = "1000"


def is_bench() -> bool:
    """Whether the command is ``bench``, which times the layers as a program of one's own has them."""
    return sys.argv[1:2] == ["bench"]


def running() -> str | None:
    """The command that this process is, ``pixelrnn`` or ``python -m pixelrnn_ext``; None for another program."""
    if os.path.basename(sys.argv[0]) == "pixelrnn":
        return "pixelrnn"
    # What Python puts there while it looks for the module, which imports the package.
    pairs = pairwise(sys.orig_argv)
    named = any(module == "pixelrnn_ext" and re.fullmatch("-[A-Za-z]*m", option) for option, module in pairs)
    is_module = sys.argv[0] == "-m" and named
    return "python -m pixelrnn_ext" if is_module else None


@contextmanager
def without_traceback(command: str | None) -> Iterator[None]:
    """Ends the process of ``command`` where imports fail or are interrupted; None: another program's, which is told."""
    if command is None:
        yield
        return
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it may be ignored
    if listens:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    except (ImportError, OSError, ValueError) as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(f"{command}: {(str(error).splitlines() or [type(error).__name__])[0]}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        if listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(*_: object) -> None:
    """At once: there is nothing to lose yet, and an exception may be caught by what is imported, as torch does."""
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
