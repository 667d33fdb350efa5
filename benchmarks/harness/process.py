"""A benchmark's process as the command has its own."""

import importlib.util
from pathlib import Path


def as_the_command() -> None:
    """Before torch is imported, hence without the package, which imports it."""
    path = Path(importlib.util.find_spec("pixelrnn_ext").origin).with_name("_command.py")
    spec = importlib.util.spec_from_file_location("_command", path)
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    command.own_process()
