"""Checks of the tensors that users pass, and views of these tensors."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import is_fake

from .._arguments import check_dtype
from .autocast import autocast_on

Result = TypeVar("Result")
# A tensor of integers may have one of these dtypes. The list lacks uint16, uint32 and uint64, because torch cannot
# clamp tensors of the three dtypes.
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_tensors(input: Tensor, others: Mapping[str, Tensor | None]) -> None:
    """Raises TypeError or ValueError unless all tensors have the device and the dtype of ``input``.

    Under autocast the dtypes may differ.
    """
    for name, tensor in {"input": input, **others}.items():
        if tensor is None and name != "input" and not name.startswith("weight"):
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected {name} to be a Tensor, got {type(tensor).__name__}")
        check_dtype(name, tensor.dtype)
        if tensor.device != input.device:
            raise ValueError(
                f"expected all tensors on one device, got input on {input.device} and {name} on {tensor.device}"
            )
        if tensor.dtype != input.dtype and not autocast_on(input.device.type):
            raise TypeError(
                f"expected all tensors of one dtype, got input of {input.dtype} and {name} of {tensor.dtype}"
            )


def on_one_device(operator: OpOverload, kernel: Callable[..., Result]) -> Callable[..., Result]:
    """Checks the devices, because a kernel would use pointers into another device's memory."""
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


def check_dense(name: str, tensor: Tensor) -> None:
    if tensor.is_nested or tensor.layout != torch.strided:
        got = "a nested one" if tensor.is_nested else tensor.layout
        raise TypeError(f"expected {name} as a dense Tensor, got {got}")


def check_integers(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or value.dtype not in INTEGERS:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        expected = "a Tensor of integers (uint8, int8, int16, int32 or int64)"
        raise TypeError(f"expected {name} as {expected}, got {got}")
    check_dense(name, value)


def check_levels(name: str, values: Tensor, levels: int) -> None:
    """Raises ValueError if a value is outside [0, levels).

    The CPU waits for a GPU that still computes the values.
    """
    possible = torch.iinfo(values.dtype)
    if (possible.min >= 0 and possible.max < levels) or not values.numel():
        return
    low, high = torch.stack(unexpanded(values).aminmax()).tolist()
    if low < 0 or high >= levels:
        raise ValueError(f"expected {name} of integers in [0, {levels}), got values from {low} to {high}")


def unexpanded(tensor: Tensor) -> Tensor:
    """Undoes ``expand``. A dimension along which ``expand`` has repeated a single element gets the size 1 again."""
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


@cache
def machine_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def check_memory(name: str, size: Sequence[int], needed: int) -> None:
    available = machine_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"expected {name} that fit into this machine's {available >> 20} MiB of memory, got {tuple(size)}, "
            f"which take {needed >> 20} MiB at least"
        )


def check_map(input: Tensor) -> None:
    if input.dim() != 4:
        raise ValueError(f"expected input of shape (N, C, H, W), got {shape(input)}")
    if 0 in input.shape[2:]:
        raise ValueError(f"expected input with H >= 1 and W >= 1, got {shape(input)}")


def shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def concrete_tensor(tensor: Tensor) -> Tensor | None:
    """Returns the tensor inside torch.func's wrappers, or None if it is fake or on the meta device.

    Inside torch.vmap the result has all members of the batch.
    """
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return None if tensor.is_meta or is_fake(tensor) else tensor
