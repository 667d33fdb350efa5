"""The operators on a GPU: what surrounds the recurrence, in matrix products of torch.

The input-to-state map comes before the scan, the gradients of weights and of the initial states after it; none of them is a
recurrence. Shapes as in csrc/ops.cpp.
"""

from functools import partial

import torch

from . import _eager as eager
from ._autocast import runs_without_autocast
from ._devices import on_one_device


def register(namespace: str, device: str) -> None:
    """Makes the operators of ``namespace`` run on tensors of ``device`` through the namespace's ``recurrence``."""
    ops = getattr(torch.ops, namespace)
    for name, kernel in (
        ("line_scan", partial(line_scan, ops)),
        ("line_scan_backward", partial(line_scan_backward, ops)),
        ("line_scan_weight_grad", eager.line_scan_weight_grad),
    ):
        torch.library.impl(f"{namespace}::{name}", device, runs_without_autocast(on_one_device(kernel)))


def line_scan(ops, x, weight, h0, c0, input, weight_ih, bias, input_kernel, diagonal, reverse, path="auto", tf32=False):
    if (input is None) != (weight_ih is None):
        raise ValueError("line_scan: input and weight_ih go together")
    if x is None and input is None:
        raise ValueError("line_scan: expected x or input")
    if input is not None:
        product = eager.input_to_state(input, weight_ih, bias, input_kernel, reverse)
        x = product if x is None else product.add_(x)
    elif bias is not None:
        x = x + bias[:, None, None, None]
    return ops.recurrence(x, weight, h0, c0, diagonal, reverse, path, tf32)


def line_scan_backward(ops, dh, weight, h0, c0, c, gates, diagonal, reverse, path="auto", tf32=False):
    dx, dc_first = ops.recurrence_backward(dh, weight, c0, c, gates, diagonal, reverse, path, tf32)
    directions, images, _, _, hidden = c.shape
    dh0, dc0 = (c.new_zeros(0, images, hidden) for _ in range(2))
    if h0 is not None:
        mirrored = [reverse != (d == 1) for d in range(directions)]
        dh0 = torch.stack([_border_gradient(*of, diagonal, m) for *of, m in zip(dx, weight, mirrored)])
    if c0 is not None:
        dc0 = dc_first.sum(2)
    return dx, dh0, dc0


def _border_gradient(dx, weight, diagonal, mirrored):
    """Gradient of h0, [B, h]: each weight times the sum of dx [B, H, W, h, 4] over the cells whose neighbour is outside."""
    dtype = eager.state_dtype(dx.dtype)
    total = torch.zeros(dx.shape[0], weight.shape[-1], dtype=dtype, device=dx.device)
    for k, (up, left) in enumerate(eager.state_moves(diagonal, weight.shape[0])):
        left = -left if mirrored else left
        rows = dx[:, up:]
        columns = rows[:, :, :left] if left > 0 else rows[:, :, max(rows.shape[2] + left, 0) :] if left < 0 else rows[:, :, :0]
        outside = dx[:, :up].sum((1, 2), dtype=dtype) + columns.sum((1, 2), dtype=dtype)
        total = total + torch.einsum("bug,ugj->bj", outside, weight[k].to(dtype))
    return total
