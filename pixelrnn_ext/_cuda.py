"""The operators on a GPU: what surrounds the recurrence, in matrix products of torch.

The input-to-state map comes before the scan, the gradients of weights and of the initial states after it; none of them is a
recurrence. Shapes as in csrc/ops.cpp.
"""

from functools import partial

import torch

from . import _eager_backward as eager
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
        product = _input_to_state(input, weight_ih, bias, input_kernel, reverse)
        x = product if x is None else product.add_(x)
    elif bias is not None:
        x = x + bias[:, None, None, None]
    return ops.recurrence(x, weight, h0, c0, diagonal, reverse, path, tf32)


def line_scan_backward(ops, dh, weight, h0, c0, c, gates, diagonal, reverse, path="auto", tf32=False):
    dx, dc_first = ops.recurrence_backward(dh, weight, c0, c, gates, diagonal, reverse, path, tf32)
    directions, hidden = weight.shape[0], weight.shape[2]
    dh0, dc0 = (weight.new_zeros(0, hidden) for _ in range(2))
    if h0 is not None:
        dh0 = torch.stack([_border_gradient(dx[d], weight[d], diagonal, reverse != (d == 1)) for d in range(directions)])
    if c0 is not None:
        dc0 = dc_first.sum(1).to(weight.dtype)
    return dx, dh0, dc0


def _input_to_state(input, weight_ih, bias, input_kernel, reverse):
    """The convolution of the input, [D, B, H, W, h, 4]."""
    directions, taps, hidden, _, channels = weight_ih.shape
    matrix = weight_ih.permute(0, 1, 4, 2, 3).reshape(directions, taps * channels, 4 * hidden)
    if taps == 1 and input_kernel == 1:
        pixels = input.reshape(1, -1, channels).expand(directions, -1, -1)
    else:
        mirrored = [reverse != (d == 1) for d in range(directions)]
        neighbours = [torch.cat(eager.input_neighbours(input, taps, input_kernel, m), -1) for m in mirrored]
        pixels = torch.stack(neighbours).reshape(directions, -1, taps * channels)
    if bias is None:
        product = torch.bmm(pixels, matrix)
    else:
        product = torch.baddbmm(bias.reshape(directions, 1, 4 * hidden), pixels, matrix)
    return product.view(directions, *input.shape[:3], hidden, 4)


def _border_gradient(dx, weight, diagonal, mirrored):
    """Gradient of h0: each weight times the sum of dx [B, H, W, h, 4] over the cells whose neighbour is outside the image."""
    dtype = torch.float64 if dx.dtype == torch.float64 else torch.float32
    total = torch.zeros(weight.shape[-1], dtype=dtype, device=dx.device)
    for k, (up, left) in enumerate(eager.state_moves(diagonal, weight.shape[0])):
        left = -left if mirrored else left
        rows = dx[:, up:]
        columns = rows[:, :, :left] if left > 0 else rows[:, :, max(rows.shape[2] + left, 0) :] if left < 0 else rows[:, :, :0]
        outside = dx[:, :up].sum((0, 1, 2), dtype=dtype) + columns.sum((0, 1, 2), dtype=dtype)
        total = total + torch.einsum("ug,ugj->j", outside, weight[k].to(dtype))
    return total.to(weight.dtype)
