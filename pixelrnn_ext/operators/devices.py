"""A kernel reads the addresses of all its tensors on one device, and would not find out that some are another's."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from torch import Tensor

Result = TypeVar("Result")


def on_one_device(kernel: Callable[..., Result]) -> Callable[..., Result]:
    """For an operator: ValueError unless its tensors are on the device of the first one."""
    names = list(inspect.signature(kernel).parameters)
    operator = getattr(kernel, "func", kernel).__name__

    @wraps(kernel)
    def run(*args: object) -> Result:
        tensors = [(name, t) for name, t in zip(names, args) if isinstance(t, Tensor)]
        first, leader = tensors[0]
        for name, tensor in tensors:
            if tensor.device != leader.device:
                got = f"{first} on {leader.device} and {name} on {tensor.device}"
                raise ValueError(f"{operator}: expected all tensors on one device, got {got}")
        return kernel(*args)

    return run
