"""Entry point of the command line, which users start as ``pixelrnn`` or ``python -m pixelrnn_ext``."""

import atexit
import os
import signal
import sys

from ._command import without_traceback


def main(command: str = "pixelrnn") -> int:
    with without_traceback(command):
        from . import cli
        from .training.interrupt import SIGNALS, ignore_signals
    status = cli.main(prog=command, ends_process=True)

    def end(*_: object) -> None:
        """Ends the process at once, although a thread of a user's module still runs."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)

    for number in SIGNALS:
        signal.signal(number, end)
    # Python calls this function when all threads have ended. Afterwards it would replace handlers by the default ones.
    atexit.register(ignore_signals)
    return status


if __name__ == "__main__":
    sys.exit(main("python -m pixelrnn_ext"))
