"""The operators on a GPU: what surrounds the recurrence, in matrix products of torch.

The input-to-state map comes before the scan, the gradients of weights and of the initial states after it; none of them
is a recurrence. Shapes as in csrc/operators/recurrence.cpp.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..autocast import runs_without_autocast
from ..devices import on_one_device
from . import eager


def register(namespace: str, device: str) -> None:
    """Makes the operators of ``namespace`` run on tensors of ``device`` through the namespace's ``recurrence``."""
    ops = getattr(torch.ops, namespace)
    for name, kernel in (
        ("line_scan", partial(line_scan, ops)),
        ("bilstm_scan", partial(bilstm_scan, ops)),
        ("line_scan_backward", partial(line_scan_backward, ops)),
        ("line_scan_weight_grad", partial(line_scan_weight_grad, ops)),
        ("line_scan_gradients", partial(line_scan_gradients, ops)),
    ):
        torch.library.impl(f"{namespace}::{name}", device, runs_without_autocast(on_one_device(kernel)))


def line_scan(
    ops: Any,
    x: Tensor | None,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    input_kernel: int,
    diagonal: bool,
    reverse: bool,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    if (input is None) != (weight_ih is None):
        raise ValueError("line_scan: input and weight_ih go together")
    if x is None and input is None:
        raise ValueError("line_scan: expected x or input")
    if input is not None and weight_ih is not None:
        product = eager.input_to_state(input, weight_ih, bias, input_kernel, reverse)
        x = product if x is None else product.add_(x)
    elif x is not None and bias is not None:
        x = x + bias[:, None, None, None]
    return ops.recurrence(x, weight, h0, c0, diagonal, reverse, path, tf32)


def bilstm_scan(
    ops: Any,
    x: Tensor | None,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    bias: Tensor | None,
    *scan: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if weight.shape[0] != 2:
        raise ValueError(f"bilstm_scan: expected 2 directions, got {weight.shape[0]}")
    h, c, gates = line_scan(ops, x, weight, h0, c0, input, weight_ih, bias, *scan)
    return eager.merge_directions(h), h, c, gates


def line_scan_backward(
    ops: Any,
    dh: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    c: Tensor,
    gates: Tensor,
    diagonal: bool,
    reverse: bool,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    dx, dc_first = ops.recurrence_backward(dh, weight, c0, c, gates, diagonal, reverse, path, tf32)
    _, images, _, _, hidden = c.shape
    dh0, dc0 = (c.new_zeros(0, images, hidden) for _ in range(2))
    if h0 is not None:  # each weight times the sum of dx over the cells whose neighbour is outside
        outside = ops.border_sums(dx, weight.shape[1], diagonal, reverse).flatten(2)
        dh0 = outside @ weight.to(outside.dtype).flatten(1, 3)
    if c0 is not None:
        dc0 = dc_first.sum(2)
    return dx, dh0, dc0


def line_scan_weight_grad(
    ops: Any,
    dx: Tensor,
    h: Tensor | None,
    h0: Tensor | None,
    input: Tensor | None,
    taps: int,
    input_taps: int,
    input_kernel: int,
    bias: bool,
    diagonal: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """As in eager.py. The recurrent weight's gradient is one matrix product: dx times the hidden states that the taps
    read."""
    dweight, dweight_ih, dbias = eager.line_scan_weight_grad(
        dx, None, h0, input, taps, input_taps, input_kernel, bias, diagonal, reverse
    )
    if h is not None:
        columns = dx.flatten(4).flatten(1, 3).transpose(1, 2)
        # No more taps at once than there are gates: the states that they read are never larger than dx.
        products = [
            columns @ ops.neighbour_states(h, h0, taps, k, min(4, taps - k), diagonal, reverse).flatten(4).flatten(1, 3)
            for k in range(0, taps, 4)
        ]
        product = products[0] if taps <= 4 else torch.cat(products, -1)
        directions, hidden = h.shape[0], h.shape[-1]
        dweight = product.view(directions, hidden, 4, taps, hidden).permute(0, 3, 1, 2, 4).contiguous()
    return dweight, dweight_ih, dbias


def line_scan_gradients(
    ops: Any,
    dh: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    *scan: Any,
) -> tuple[Tensor, ...]:
    backward, weight_grad = partial(line_scan_backward, ops), partial(line_scan_weight_grad, ops)
    dx, dweight, dh0, dc0, dinput, dweight_ih, dbias = eager.line_scan_gradients(
        dh, weight, h0, c0, input, weight_ih, h, c, gates, *scan, scan_backward=backward, weight_grad=weight_grad
    )
    return dx, laid_out_as(weight, dweight), dh0, dc0, dinput, laid_out_as(weight_ih, dweight_ih), dbias


def laid_out_as(weight: Tensor | None, gradient: Tensor) -> Tensor:
    """The gradient of a weight, as the fake kernel says that it lies in memory; of no elements, as it is."""
    if weight is None or gradient.shape != weight.shape:
        return gradient
    given = torch.empty_like(weight)
    return gradient if gradient.stride() == given.stride() else given.copy_(gradient)
