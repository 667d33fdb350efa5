"""Types of command-line options: functions with which argparse parses and checks a value."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
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


def input_file(text: str) -> Path:
    """Parses a path. "-" is standard input."""
    return Path("/dev/stdin") if text == "-" else path(text)


def output_file(text: str) -> Path:
    """Parses a path. "-" is standard output."""
    return Path("/dev/stdout") if text == "-" else path(text)


def output_images(text: str) -> str:
    """Parses a path. "-" is standard output, and a path that ends in "/", or an existing folder, is a folder."""
    file = output_file(text)
    return f"{file}/" if text.endswith("/") or file.is_dir() else str(file)


def output_folder(text: str) -> str:
    """Returns the path as a string, because ``train`` stores its options as JSON."""
    if text == "-":
        raise ArgumentTypeError("expected a folder, got -, which is standard output: ./- is a folder of this name")
    return non_empty(text)


def device(text: str) -> str:
    if not re.fullmatch(r"auto|(cpu|cuda)(:\d+)?", text):
        raise ArgumentTypeError(f"expected a device auto, cpu, cuda or cuda:NUMBER, got {text!r}")
    return text


def positive(text: str) -> int:
    return _integer(text, 1)


def up_to(maximum: int) -> Callable[[str], int]:
    """Returns the type of integers from 1 to ``maximum``."""
    return partial(_integer, minimum=1, maximum=maximum)


def non_negative(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, minimum: int, maximum: int = 2**63 - 1) -> int:
    if not (text.isdecimal() and len(text) < 20 and minimum <= int(text) <= maximum):
        allowed = f">= {minimum} of 64 bits" if maximum == 2**63 - 1 else f"from {minimum} to {maximum}"
        raise ArgumentTypeError(f"expected an integer {allowed}, got {text!r}")
    return int(text)
