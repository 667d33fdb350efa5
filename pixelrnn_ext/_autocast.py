"""Whether autocast is on for a device, and switching it off: the recurrences choose their dtypes themselves."""

from contextlib import nullcontext
from functools import wraps

import torch


def autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def without_autocast(device: str):
    return torch.autocast(device, enabled=False) if autocasts(device) else nullcontext()


def runs_without_autocast(function):
    """For an operator or a rule: off for the device of the first tensor among its arguments."""

    @wraps(function)
    def run(*args):
        device = next(a.device.type for a in args if isinstance(a, torch.Tensor))
        with without_autocast(device):
            return function(*args)

    return run


def autocast_operand(value, dtype):
    """``value``, of ``dtype`` if it is a tensor that autocast casts: float64 it leaves alone."""
    castable = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64
    return value.to(dtype) if castable else value
