"""The tensors that a function is given: what is asked of them, whichever the function."""

from collections.abc import Mapping

from torch import Tensor

from .._arguments import check_dtype
from .autocast import autocasts


def check_tensors(input: Tensor, others: Mapping[str, Tensor | None]) -> None:
    """That the others, by their names, are on the input's device and of its dtype; all but weights may be None."""
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
        if tensor.dtype != input.dtype and not autocasts(input.device.type):
            raise TypeError(
                f"expected all tensors of one dtype, got input of {input.dtype} and {name} of {tensor.dtype}"
            )


def check_map(input: Tensor) -> None:
    if input.dim() != 4:
        raise ValueError(f"expected input of shape (N, C, H, W), got {shape(input)}")
    if input.shape[2] == 0 or input.shape[3] == 0:
        raise ValueError(f"expected input with H >= 1 and W >= 1, got {shape(input)}")


def shape(tensor: Tensor) -> tuple[int, ...]:
    """As messages show it."""
    return tuple(tensor.shape)
