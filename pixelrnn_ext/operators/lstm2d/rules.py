"""The operators under the two-dimensional LSTM: fake kernels, derivatives, batching and the autocast rule.

``torch.ops.pixelrnn_ext.lstm2d_scan`` is the recurrence of all directions with the product of its input, and
``lstm2d_gradients`` its backward; csrc/operators/lstm2d.cpp has their schemas and the shapes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...cells import CELLS
from .. import autograd, batching
from ..autocast import without_autocast
from ..library import why_no_native
from . import eager

_OPS = torch.ops.pixelrnn_ext
_OPERANDS = 7  # of the scan, that have gradients: those before sizes


def _register(library: torch.library.Library) -> None:
    """Once, after the compiled library has defined the schemas."""
    for name, fake, batch in (
        ("lstm2d_scan", _scan_fake, _scan_batch),
        ("lstm2d_gradients", _gradients_fake, _gradients_batch),
    ):
        torch.library.register_fake(f"pixelrnn_ext::{name}", fake, lib=library)
        torch.library.register_vmap(f"pixelrnn_ext::{name}", batch, lib=library)
    autograd.register(library, "lstm2d_scan", eager.lstm2d_scan, _setup, _backward)
    autograd.register(library, "lstm2d_gradients", eager.lstm2d_gradients)
    torch.library.register_autocast("pixelrnn_ext::lstm2d_scan", "cpu", torch.float32, lib=library)


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
) -> tuple[Tensor, Tensor, Tensor]:
    images, height, width, _ = input.shape
    directions, _, hidden, _, _ = weight.shape
    map_of_each = directions, images, height, width
    return (
        weight.new_empty(images, height, width, directions, hidden),
        weight.new_empty(*map_of_each, hidden),
        weight.new_empty(*map_of_each, len(CELLS[cell].gates) * hidden),
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
def _scan_batch(info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    images = {0: 0, 7: 0}  # are an axis of input and of sizes
    return batching.folded(_OPS.lstm2d_scan, images, (0, 1, 1), info, _of_tensors(in_dims), args)


def _gradients_batch(info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    return batching.each(_OPS.lstm2d_gradients, info, _of_tensors(in_dims), args)  # sums over the images


def _of_tensors(in_dims: Sequence[Any]) -> batching.Dims:
    return [dim if isinstance(dim, int) else None for dim in in_dims]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.corners, ctx.cell = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, dh: Tensor | None, dc: Tensor | None, dgates: Tensor | None) -> tuple[Tensor | None, ...]:
    *tensors, h, c, gates = ctx.saved_tensors
    operands, sizes, scan = tensors[:_OPERANDS], tensors[_OPERANDS], (ctx.corners, ctx.cell)
    needed = ctx.needs_input_grad[:_OPERANDS]
    nothing = (None,) * (1 + len(scan))
    with without_autocast(h.device.type):  # it is on where backward() is called inside its region
        # Gradients of c and the gates: of the operator alone, nothing else has them. An outer jvp: the decomposition of
        # the other operator starts a torch.func.vjp, which torch forbids within the dispatcher then.
        if dc is not None or dgates is not None or (dh is not None and autograd.within_jvp()):
            gradients = eager.pulled_back((dh, dc, dgates), operands, needed, sizes, *scan)
        elif dh is not None:
            gradients = _OPS.lstm2d_gradients(dh, *operands, sizes, h, c, gates, *scan, *needed[:3])
        else:
            gradients = [None] * _OPERANDS
        return *(gradient if need else None for gradient, need in zip(gradients, needed)), *nothing


if why_no_native() is None:
    _library = torch.library.Library("pixelrnn_ext", "FRAGMENT")  # its registrations live as long as it
    _register(_library)
