"""Loads modules of pixelrnn_ext without the package, which would import torch, and may not be built yet."""

import importlib.util
from pathlib import Path
from types import ModuleType


def _load_module(name: str) -> ModuleType:
    """Loads one file of pixelrnn_ext/, which must not import from the package meanwhile."""
    path = Path(importlib.util.find_spec("pixelrnn_ext").origin).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


grid = _load_module("benchmark/tables.py").grid


def configure_like_command() -> None:
    """Configures malloc and OpenMP like the command `pixelrnn`. Call it before torch is imported."""
    _load_module("_command.py").configure_process()
