"""Starts Python processes that import the package under test.

They start outside of the repository's root, where `python -c` would import the source folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import pixelrnn_ext

from .root import ROOT

TESTS = ROOT / "tests"


def environment(*folders, without=()):
    """Returns the environment variables for a child process, without the names in ``without``.

    PYTHONPATH begins with ``folders`` and the folder that contains the package under test.
    """
    path = [*map(str, folders), str(Path(pixelrnn_ext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {name: value for name, value in os.environ.items() if name not in without}
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def python(*arguments, cwd=None, env=None, timeout=None):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env or environment(), capture_output=True, text=True, timeout=timeout)


def run_tests(file, expression, folder, variables):
    options = "-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider"
    done = python("-m", "pytest", *options, file, "-k", expression, cwd=folder, env=environment() | variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
