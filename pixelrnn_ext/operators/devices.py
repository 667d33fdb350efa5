"""Checks that all tensors are on one device: a kernel would read addresses of other devices without an error."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from torch import Tensor
from torch._ops import OpOverload

Result = TypeVar("Result")


def on_one_device(operator: OpOverload, kernel: Callable[..., Result]) -> Callable[..., Result]:
    """Wraps a kernel of ``operator``: it raises ValueError unless all tensors are on the device of the first one."""
    name, schema = operator._schema.name.partition("::")[2], operator._schema

    @wraps(kernel)
    def run(*args: object) -> Result:
        tensors = [(argument.name, t) for argument, t in zip(schema.arguments, args) if isinstance(t, Tensor)]
        first, leader = tensors[0]
        for other, tensor in tensors:
            if tensor.device != leader.device:
                got = f"{first} on {leader.device} and {other} on {tensor.device}"
                raise ValueError(f"{name}: expected all tensors on one device, got {got}")
        return kernel(*args)

    return run
