"""Processes of the tests: they find the package that is being tested, whatever folder they run in."""

import os
from pathlib import Path

import pixelrnn_ext


def environment(*folders, without=()):
    """This process's variables, without some; Python finds the package, and other folders, before anything else."""
    path = [*map(str, folders), str(Path(pixelrnn_ext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
