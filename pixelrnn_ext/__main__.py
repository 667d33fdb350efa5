"""`python -m pixelrnn_ext` is the command `pixelrnn`; alone, it says what was compiled in and what is missing."""

import sys

from ._command import main

if __name__ == "__main__":
    sys.exit(main("python -m pixelrnn_ext"))
