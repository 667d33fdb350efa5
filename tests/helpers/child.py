"""Processes that import the package under test.

`python -c` and `python -m` search the current folder first. In the repository its source folder would hide the
installed package, so such a process runs in another folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import pixelrnn_ext

from .root import ROOT

TESTS = ROOT / "tests"


def environment(*folders, without=()):
    """Returns this process's variables except ``without``; PYTHONPATH begins with ``folders`` and the package."""
    path = [*map(str, folders), str(Path(pixelrnn_ext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def python(*arguments, cwd=None, env=None):
    """Runs Python until it exits. Returns the CompletedProcess, with the output as text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env or environment(), capture_output=True, text=True)


def run_tests(file, chosen, folder, variables):
    """Asserts that the tests of a file that pytest's -k chooses pass with other environment variables."""
    options = "-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider"
    done = python("-m", "pytest", *options, file, "-k", chosen, cwd=folder, env=environment() | variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
