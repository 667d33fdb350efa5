"""Modules of the package without the package, which imports torch and may not be built yet."""

import importlib.util
from pathlib import Path
from types import ModuleType


def module(name: str) -> ModuleType:
    """The one in that file of the package's folder; it imports nothing of it."""
    path = Path(importlib.util.find_spec("pixelrnn_ext").origin).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
