"""Entry point of the command line, which users start as ``pixelrnn`` or ``python -m pixelrnn_ext``."""

import sys

from ._command import without_traceback


def main(command: str = "pixelrnn") -> int:
    with without_traceback(command):
        from . import cli
    return cli.main(prog=command, ends_process=True)


if __name__ == "__main__":
    sys.exit(main("python -m pixelrnn_ext"))
