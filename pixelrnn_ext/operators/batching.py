"""Runs operators under torch.vmap, which maps a function over the members of a batch.

An operator runs once for the images of all members, or once for each member. ``axes`` maps the position of an argument
to the axis along which the argument has its images.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Info(Protocol):
    batch_size: int


Dims = Sequence[int | None]
Outputs = tuple[tuple[Tensor, ...], tuple[int, ...]]


def run_folded(
    op: Callable[..., Sequence[Tensor]],
    axes: dict[int, int],
    output_axes: tuple[int, ...],
    info: Info,
    in_dims: Dims,
    args: Sequence[Any],
) -> Outputs:
    """Runs ``op`` once for the images of all members of torch.vmap's batch.

    If an argument without images is batched, runs ``op`` once for each member instead. ``output_axes`` has, for every
    output, the axis along which the output has its images.
    """
    if any(dim is not None for i, dim in enumerate(in_dims) if i not in axes):
        return run_each_member(op, info, in_dims, args)
    args, images = fold_batch(axes, info, in_dims, args)
    outputs = zip(op(*args), output_axes)
    return tuple(out.unflatten(axis, (info.batch_size, images)) for out, axis in outputs), output_axes


def run_each_member(op: Callable[..., Sequence[Tensor]], info: Info, in_dims: Dims, args: Sequence[Any]) -> Outputs:
    dims = (*in_dims, *(None for _ in args[len(in_dims) :]))
    members = [[a if dim is None else a.select(dim, n) for a, dim in zip(args, dims)] for n in range(info.batch_size)]
    outputs = [torch.stack(outputs) for outputs in zip(*(op(*member) for member in members))]
    return tuple(outputs), (0,) * len(outputs)


def fold_batch(axes: dict[int, int], info: Info, in_dims: Dims, args: Sequence[Any]) -> tuple[list[Any], int]:
    """Merges the images of all members of torch.vmap's batch into one batch.

    Returns the new arguments, and the number of images of one member.
    """
    args, images = list(args), 0
    for i, axis in axes.items():
        if args[i] is None:
            continue
        dim = in_dims[i]
        if dim is None:
            shape = args[i].shape
            batched = args[i].unsqueeze(axis).expand(*shape[:axis], info.batch_size, *shape[axis:])
        else:
            batched = args[i].movedim(dim, axis)
        images = batched.shape[axis + 1]
        args[i] = batched.flatten(axis, axis + 1)
    return args, images
