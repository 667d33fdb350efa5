"""Loads modules of pixelrnn_ext without importing the package, which would import torch."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load_module(name: str) -> ModuleType:
    """Loads one file of pixelrnn_ext/. The file must not import from the package."""
    path = Path(importlib.util.find_spec("pixelrnn_ext").origin).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


grid = load_module("benchmark/tables.py").grid


def configure_like_command() -> None:
    """Configures malloc and OpenMP. Must run before torch is imported."""
    load_module("_process.py").configure_process()
