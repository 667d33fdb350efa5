"""The operators that merge two directions into a BiLSTM's map (section 3.3): each one is the derivative of the other.

``torch.ops.pixelrnn_ext.merge_directions`` takes h [2, B, H, W, h] to [B, H, W, h], the first direction plus the second
one shifted down by a row; ``split_directions`` takes the gradient of the result to that of h. On a CPU each is one pass
over the maps (csrc/operators/directions.cpp), where PyTorch makes a map for the shift, one for the sum, and in the
backward one for each of their derivatives.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import autograd, batching
from ..library import why_no_native

_OPS = torch.ops.pixelrnn_ext


def merge_directions(h: Tensor) -> Tensor:
    """In PyTorch."""
    return (h[0] + F.pad(h[1, :, :-1], (0, 0, 0, 0, 1, 0))).contiguous()


def split_directions(dy: Tensor) -> Tensor:
    """In PyTorch."""
    return torch.stack([dy, F.pad(dy[:, 1:], (0, 0, 0, 0, 0, 1))])


def _merge_fake(h: Tensor) -> Tensor:
    return h.new_empty(h.shape[1:])


def _split_fake(dy: Tensor) -> Tensor:
    return dy.new_empty(2, *dy.shape)


def _merge_batch(info: batching.Info, in_dims: batching.Dims, h: Tensor) -> tuple[Tensor, int]:
    return batching.folded_one(_OPS.merge_directions, {0: 1}, 0, info, in_dims, (h,))


def _split_batch(info: batching.Info, in_dims: batching.Dims, dy: Tensor) -> tuple[Tensor, int]:
    return batching.folded_one(_OPS.split_directions, {0: 0}, 1, info, in_dims, (dy,))


def _nothing(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """A linear operator's derivative needs no tensor."""


def _derivative(op: Any) -> Any:
    return lambda ctx, grad: (None if grad is None else op(grad),)


def _register() -> None:
    """Once, after the library has defined the schemas."""
    for name, eager, fake, batch, derivative in (
        ("merge_directions", merge_directions, _merge_fake, _merge_batch, _OPS.split_directions),
        ("split_directions", split_directions, _split_fake, _split_batch, _OPS.merge_directions),
    ):
        torch.library.impl(f"pixelrnn_ext::{name}", "cuda", eager)
        torch.library.register_fake(f"pixelrnn_ext::{name}", fake)
        torch.library.register_vmap(f"pixelrnn_ext::{name}", batch)
        autograd.register(_library, name, eager, _nothing, _derivative(derivative))


_library = torch.library.Library("pixelrnn_ext", "FRAGMENT")
if why_no_native() is None:
    _register()
