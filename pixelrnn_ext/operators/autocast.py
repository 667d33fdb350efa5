"""Helpers that let the operators obey torch's autocast, or run without it.

A recurrence, for example, chooses its dtypes itself, so it runs without autocast.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")
# The device types in _NO_AUTOCAST have no autocast. PyTorch's function is_autocast_available could tell this, but torch
# 2.11 cannot compile a call of that function inside torch.func.
_NO_AUTOCAST = ("meta", "lazy", "vulkan")


def autocast_on(device: str) -> bool:
    return device not in _NO_AUTOCAST and torch.is_autocast_enabled(device)


def result_dtype(input: torch.Tensor) -> torch.dtype:
    device = input.device.type
    return torch.get_autocast_dtype(device) if autocast_on(device) and input.dtype != torch.float64 else input.dtype


def without_autocast(device: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, enabled=False) if autocast_on(device) else nullcontext()


def runs_without_autocast(function: Callable[..., Result]) -> Callable[..., Result]:
    @wraps(function)
    def run(*args: object) -> Result:
        device = next(a.device.type for a in args if isinstance(a, torch.Tensor))
        with without_autocast(device):
            return function(*args)

    return run


def register_casts(
    library: torch.library.Library,
    name: str,
    device: str,
    dtype_for: Callable[[torch.dtype], torch.dtype] = lambda dtype: dtype,
) -> None:
    """Casts all operands except float64 to ``dtype_for(autocast's dtype)``."""

    def operand(value: object, dtype: torch.dtype) -> object:
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64:
            return value.to(dtype)
        return value

    def cast(*args: object) -> Any:
        dtype = dtype_for(torch.get_autocast_dtype(device))
        with without_autocast(device):
            return getattr(getattr(torch.ops, library.ns), name)(*(operand(a, dtype) for a in args))

    library.impl(name, cast, f"Autocast{device.upper()}")
