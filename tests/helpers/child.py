"""Processes of the tests, which have to import the package that is being tested.

`python -c` and `python -m` look in the current folder first. In the repository that is the source folder, which hides
the installed package: such a process has to run in another folder.
"""

import os
import subprocess
import sys
from pathlib import Path

import pixelrnn_ext

from .root import ROOT

TESTS = ROOT / "tests"


def environment(*folders, without=()):
    """This process's variables, without some; Python finds the package, and other folders, before anything else."""
    path = [*map(str, folders), str(Path(pixelrnn_ext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def python(*arguments, cwd=None, env=None):
    """Runs Python to its end. Returns what subprocess.run does, with the output as text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env or environment(), capture_output=True, text=True)


def run_tests(file, chosen, folder, variables):
    """Runs the tests of a file that pytest's -k chooses, in a process with other environment variables."""
    options = "-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider"
    done = python("-m", "pytest", *options, file, "-k", chosen, cwd=folder, env=environment() | variables)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
