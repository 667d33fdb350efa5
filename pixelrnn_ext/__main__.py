"""Entry point of the command line, which users start as ``pixelrnn`` or ``python -m pixelrnn_ext``."""

import signal
import sys

from ._command import INTERRUPTED, without_traceback


def main(command: str = "pixelrnn") -> int:
    with without_traceback(command):
        from . import cli
    status = cli.main(prog=command)
    if status == INTERRUPTED:
        # Python takes a while to end. A second signal must not change the exit status meanwhile.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(main("python -m pixelrnn_ext"))
