"""Modules of the package without the package, which imports torch and may not be built yet."""

import importlib.util
from pathlib import Path
from types import ModuleType


def _module(name: str) -> ModuleType:
    """Loads a file of the package's folder that imports nothing of the package."""
    path = Path(importlib.util.find_spec("pixelrnn_ext").origin).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


grid = _module("benchmark/tables.py").grid


def as_the_command() -> None:
    """Gives a benchmark a process like that of the command `pixelrnn`. It is called before torch is imported."""
    _module("_command.py").own_process()
