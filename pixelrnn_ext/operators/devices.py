"""A kernel reads the addresses of all its tensors on one device, and would not find out that some are another's."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from torch import Tensor
from torch._ops import OpOverload

Result = TypeVar("Result")


def on_one_device(operator: OpOverload, kernel: Callable[..., Result]) -> Callable[..., Result]:
    """For a kernel of ``operator``: ValueError unless its tensors are on the device of the first one."""
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
