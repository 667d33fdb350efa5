"""A benchmark's process as the command has its own."""

from . import alone


def as_the_command() -> None:
    """Before torch is imported."""
    alone.module("_command.py").own_process()
