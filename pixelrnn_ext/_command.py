"""Recognises the command ``pixelrnn`` before torch is imported, and hides tracebacks of failed imports.

This module handles Ctrl-C during the import of torch, so it imports nothing that imports torch.
"""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from ._sentences import reason

FAILED, INTERRUPTED = 2, 130


def is_bench() -> bool:
    """Returns whether this process runs ``pixelrnn bench``.

    A benchmark keeps the default settings of OpenMP, because users' own programs have these settings, too.
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
