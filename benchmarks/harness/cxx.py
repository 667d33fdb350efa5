import os
import shlex
import sys


def compiler() -> list[str]:
    """Returns the command of the C++ compiler, the same that torch.compile calls."""
    return shlex.split(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))
