"""The operators under the two-dimensional LSTM: fake kernels, derivatives, batching and the autocast rule.

``torch.ops.pixelrnn_ext.lstm2d_scan`` is the recurrence of all directions with the product of its input, and
``lstm2d_gradients`` its backward; csrc/operators/lstm2d.cpp has their schemas and the shapes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...cells import CELLS
from .. import autograd, batching
from ..autocast import casts_operands, without_autocast
from ..library import why_no_cuda, why_no_native
from ..recurrence.eager import gates_dtype, state_dtype
from . import eager, gpu

Operator = Callable[..., tuple[Tensor, ...]]
_OPERANDS = 7  # of the scan, that have gradients: those before sizes


def _register() -> None:
    """Once, after the compiled library has defined the schemas."""
    library = register_rules("pixelrnn_ext")
    torch.library.register_autocast("pixelrnn_ext::lstm2d_scan", "cpu", torch.float32, lib=library)
    if why_no_cuda() is None:
        gpu.register("pixelrnn_ext", "cuda")
        casts_operands(library, "lstm2d_scan", "cuda")


def register_rules(namespace: str) -> torch.library.Library:
    """As :func:`pixelrnn_ext.operators.recurrence.rules.register_rules`, of the operators of LSTM2d."""
    ops, library = getattr(torch.ops, namespace), torch.library.Library(namespace, "FRAGMENT")
    _libraries.append(library)
    for name, fake, batch in (
        ("lstm2d_scan", _scan_fake, _scan_batch),
        ("lstm2d_gradients", _gradients_fake, _gradients_batch),
    ):
        torch.library.register_fake(f"{namespace}::{name}", fake, lib=library)
        torch.library.register_vmap(f"{namespace}::{name}", partial(batch, getattr(ops, name)), lib=library)
    autograd.register(library, "lstm2d_scan", eager.lstm2d_scan, _setup, partial(_backward, ops))
    autograd.register(library, "lstm2d_gradients", eager.lstm2d_gradients)
    return library


_libraries: list[torch.library.Library] = []  # a library's registrations live as long as it


def _scan_fake(
    input: Tensor,
    weight_ih: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    peepholes: Tensor | None,
    sizes: Tensor | None,
    corners: Sequence[int],
    cell: str,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    images, height, width, _ = input.shape
    directions, _, hidden, _, _ = weight.shape
    map_of_each = directions, images, height, width
    return (
        weight.new_empty(images, height, width, directions, hidden),
        weight.new_empty(*map_of_each, hidden, dtype=state_dtype(weight.dtype)),
        weight.new_empty(*map_of_each, len(CELLS[cell].gates) * hidden, dtype=gates_dtype(weight.dtype)),
    )


def _gradients_fake(*args: Any) -> tuple[Tensor, ...]:
    asked = eager.Gradients.of(*args)

    def gradient(place: int, operand: Tensor | None) -> Tensor:
        if operand is None or not asked.wanted[place]:
            return eager.empty(place, asked.operands)
        weights = place in (1, 2)  # whose gradients lie as they do
        return torch.empty_like(operand) if weights else operand.new_empty(operand.shape)

    return tuple(gradient(place, operand) for place, operand in enumerate(asked.operands))


# Batching. The dimensions of corners, a list of integers, are a list.
def _scan_batch(op: Operator, info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    images = {0: 0, 7: 0}  # are an axis of input and of sizes
    return batching.folded(op, images, (0, 1, 1), info, _of_tensors(in_dims), args)


def _gradients_batch(op: Operator, info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    return batching.each(op, info, _of_tensors(in_dims), args)  # sums over the images


def _of_tensors(in_dims: Sequence[Any]) -> batching.Dims:
    return [dim if isinstance(dim, int) else None for dim in in_dims]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, corners, cell, path, tf32 = inputs
    ctx.scan, ctx.path = (corners, cell), (path, tf32)
    ctx.save_for_backward(*tensors, *output)


def _backward(
    ops: Any, ctx: Any, dh: Tensor | None, dc: Tensor | None, dgates: Tensor | None
) -> tuple[Tensor | None, ...]:
    *tensors, h, c, gates = ctx.saved_tensors
    operands, sizes = tensors[:_OPERANDS], tensors[_OPERANDS]
    needed = ctx.needs_input_grad[:_OPERANDS]
    nothing = (None,) * (1 + len(ctx.scan) + len(ctx.path))
    with without_autocast(h.device.type):  # it is on where backward() is called inside its region
        # Gradients of c and the gates: of the operator alone, nothing else has them. An outer jvp: the decomposition of
        # the other operator starts a torch.func.vjp, which torch forbids within the dispatcher then.
        if dc is not None or dgates is not None or (dh is not None and autograd.within_jvp()):
            gradients = eager.pulled_back((dh, dc, dgates), operands, needed, sizes, *ctx.scan)
        elif dh is not None:
            gradients = ops.lstm2d_gradients(dh, *operands, sizes, h, c, gates, *ctx.scan, *needed[:3], *ctx.path)
        else:
            gradients = [None] * _OPERANDS
        return *(gradient if need else None for gradient, need in zip(gradients, needed)), *nothing


if why_no_native() is None:
    _register()
