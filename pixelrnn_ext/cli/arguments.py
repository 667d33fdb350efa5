"""Types of command-line options: functions with which argparse parses and checks a value."""

from argparse import ArgumentTypeError
from pathlib import Path


def size(text: str) -> list[int]:
    """Parses "24x32" to [24, 32], that is, height and width, and "32" to [32, 32]."""
    sides = text.split("x")
    if not all(side.isdecimal() and int(side) for side in sides) or len(sides) > 2:
        raise ArgumentTypeError(f"expected a size such as 32 or 24x32 (height x width), got {text!r}")
    return [int(sides[0]), int(sides[-1])]


def non_empty(text: str) -> str:
    if not text:
        raise ArgumentTypeError("expected a path, got an empty one")
    return text


def folder(text: str) -> str:
    """Returns an absolute path as a string, because checkpoints store options as JSON."""
    return str(path(text).expanduser().absolute())


def path(text: str) -> Path:
    return Path(non_empty(text))


def positive(text: str) -> int:
    return _integer(text, 1)


def non_negative(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, minimum: int) -> int:
    if not text.isdecimal() or not minimum <= int(text) < 2**63:
        raise ArgumentTypeError(f"expected an integer >= {minimum} of 64 bits, got {text!r}")
    return int(text)
