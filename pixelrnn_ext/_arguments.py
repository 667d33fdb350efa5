"""Checks of numbers, kernel sizes and dtypes."""

import operator
from numbers import Real
from typing import SupportsIndex

import torch

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def integer(name: str, value: SupportsIndex, minimum: int = 1) -> int:
    """Returns any integer, also numpy's, as an int. Raises TypeError, or ValueError if it is below ``minimum``."""
    if not isinstance(value, (int, torch.SymInt)):  # a traced size stays a SymInt
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"expected {name} to be an int, got {type(value).__name__}") from None
    if isinstance(value, bool):
        raise TypeError(f"expected {name} to be an int, got bool")
    if value < minimum:
        raise ValueError(f"expected {name} >= {minimum}, got {value}")
    return value  # type: ignore[return-value]  # a torch.SymInt serves as an int


def integers(*, minimum: int = 1, **values: SupportsIndex) -> tuple[int, ...]:
    return tuple(integer(name, value, minimum) for name, value in values.items())


def check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"expected {name} to be a number, got {type(value).__name__}")


def odd_sides(kernel_size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns a kernel size, one odd integer or two, as (height, width). Raises TypeError or ValueError."""
    sides = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
    if len(sides) != 2:
        raise ValueError(f"expected kernel_size to be an int or (height, width), got {kernel_size}")
    height, width = (integer("kernel_size", side) for side in sides)
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"expected an odd kernel_size, got {kernel_size}")
    return height, width


def check_dtype(name: str, dtype: torch.dtype | None) -> None:
    """Raises TypeError unless the layers support the dtype. None, torch's default dtype, passes."""
    if dtype is not None and dtype not in DTYPES:
        raise TypeError(f"expected {name} of a floating-point dtype (float32, float64, float16, bfloat16), got {dtype}")
