"""Checks of arguments that users pass to layers and functions: numbers, kernel sizes and dtypes."""

import operator
from numbers import Real
from typing import SupportsIndex

import torch

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def integer(name: str, value: SupportsIndex, minimum: int = 1) -> int:
    """Converts any kind of integer, such as numpy's, to a Python int.

    A torch.SymInt, which is a size that torch.compile traces, is returned unchanged. Raises TypeError if the value is
    no integer, and ValueError if it is less than ``minimum``.
    """
    if not isinstance(value, (int, torch.SymInt)):
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"expected {name} to be an int, got {type(value).__name__}") from None
    if isinstance(value, bool):
        raise TypeError(f"expected {name} to be an int, got bool")
    if value < minimum:
        raise ValueError(f"expected {name} >= {minimum}, got {value}")
    return value  # type: ignore[return-value]  # a torch.SymInt can be used like an int


def integers(*, minimum: int = 1, **values: SupportsIndex) -> tuple[int, ...]:
    return tuple(integer(name, value, minimum) for name, value in values.items())


def capability_level(capability: tuple[int, int]) -> int:
    """Returns 10 * major + minor of a GPU's compute capability, such as (9, 0)."""
    if not isinstance(capability, tuple) or len(capability) != 2:
        raise TypeError(f"expected capability to be a tuple (major, minor), got {capability!r}")
    major, minor = (integer("a number in capability", number, 0) for number in capability)
    if major > 99 or minor > 9 or major == 0:
        raise ValueError(f"expected capability to be a tuple such as (9, 0), got {capability!r}")
    return 10 * major + minor


def check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be a number, got {type(value).__name__}")


def odd_sides(kernel_size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns a kernel size, given as one odd integer or as two, in the form (height, width).

    Raises TypeError if a side is no integer, and ValueError for any other wrong size.
    """
    sides = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
    if len(sides) != 2:
        raise ValueError(f"expected kernel_size to be an int or (height, width), got {kernel_size}")
    height, width = (integer("kernel_size", side) for side in sides)
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"expected an odd kernel_size, got {kernel_size}")
    return height, width


def check_dtype(name: str, dtype: torch.dtype | None) -> None:
    """Raises TypeError unless the layers support the dtype: float16, bfloat16, float32 or float64.

    None stands for torch's default dtype, which the layers support.
    """
    if dtype is not None and dtype not in DTYPES:
        raise TypeError(f"expected {name} of a floating-point dtype (float32, float64, float16, bfloat16), got {dtype}")
