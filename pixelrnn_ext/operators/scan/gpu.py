"""Runs the scan operators on a GPU: a compiled recurrence between matrix products of torch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..autocast import runs_without_autocast
from ..operands import on_one_device
from .arguments import Gradients, Scan
from .eager import merge_directions
from .products import Neighbours, input_gradient, input_to_state, pack_gates, weight_gradients
from .sizes import fill_outside


def register(namespace: str, device: str, trusted: Callable[[Any, Scan], Scan] = lambda ops, s: s) -> None:
    """Registers the operators' kernels. ``trusted`` may change a scan's path before it runs."""
    ops = getattr(torch.ops, namespace)

    def run_gradients(*args: Any) -> tuple[Tensor, ...]:
        g = Gradients.bind(*args)
        return scan_gradients(ops, g._replace(scan=trusted(ops, g.scan)))

    for name, kernel in (
        ("scan", lambda *args: scan(ops, trusted(ops, Scan(*args)))),
        ("scan_gradients", run_gradients),
    ):
        checked = on_one_device(getattr(ops, name).default, kernel)
        torch.library.impl(f"{namespace}::{name}", device, runs_without_autocast(checked))


def scan(ops: Any, s: Scan) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h, c, gates = ops.recurrence(*s._replace(x=input_to_state(s)))
    kept = h.contiguous()
    if s.merge != "shift":
        return merge_directions(kept, s), kept, c, gates
    # The recurrence may return h with the directions first in memory. Then ``kept`` is a copy, and y may overwrite h.
    y = h[..., 0, :].clone() if h.is_contiguous() else h[..., 0, :]
    y[:, 1:].add_(h[:, :-1, :, 1])
    return fill_outside(y, s.sizes, 0), kept, c, gates


def scan_gradients(ops: Any, g: Gradients) -> tuple[Tensor, ...]:
    s = g.scan
    neighbours: Neighbours = partial(neighbour_states, ops)
    dh = _unmerge_gradient(g.dh, s)
    dx, dc_left, dc_above = ops.recurrence_backward(dh, g.c, g.gates, *s)
    grads = {"x": dx}
    if g.wants("input"):
        grads["input"] = input_gradient(s, dx)
    for name, gradient in weight_gradients(g, dx, 1, neighbours).items():
        grads[name] = _with_strides_of(s.operands[name], gradient.squeeze(1))
    # For each neighbour (tap), ``outside`` sums dx over the pixels that read h0.
    if g.wants("h0"):
        outside = ops.border_sums(dx, s.sizes, s.corners, s.diagonal, s.weight_hh.shape[1]).flatten(2)
        outside = outside if g.shares else outside.sum(1, keepdim=True)
        grads["h0"] = torch.bmm(outside, _hidden_rows(s.weight_hh).to(outside.dtype))
        grads["h0"] = grads["h0"] if g.shares else grads["h0"].squeeze(1)
    if g.wants("c0"):
        grads["c0"] = dc_left.sum(2 if g.shares else (1, 2))
        if dc_above.numel():
            grads["c0"] += dc_above if g.shares else dc_above.sum(1)
    if g.wants("peephole"):
        peephole = _peephole_gradient(g, dx, neighbours)
        grads["peephole"] = peephole if g.shares else peephole.sum(1)
    return g.outputs(grads)


def _hidden_rows(weight_hh: Tensor) -> Tensor:
    """Returns the recurrent weights as matrices [D, taps * G * h, h], which map gates to hidden states."""
    if weight_hh.shape[3] == 4:
        return weight_hh.flatten(1, 3)
    return pack_gates(weight_hh.permute(0, 4, 1, 2, 3)).flatten(2).transpose(1, 2)


def _unmerge_gradient(dy: Tensor, s: Scan) -> Tensor:
    """``"shift"`` would move some gradients outside the images into an image, so these are zeroed."""
    if s.merge == "none":
        return dy
    if s.merge == "sum":
        return dy.unsqueeze(3).expand(-1, -1, -1, len(s.corners), -1)
    rows = F.pad(fill_outside(dy, s.sizes, 0), (0, 0, 0, 0, 0, 1))
    return rows.unfold(1, 2, 1).movedim(-1, 3)  # each row, and the row below it


def neighbour_states(ops: Any, m: Tensor, border: Tensor | None, s: Scan, first: int, count: int) -> Tensor:
    return ops.neighbour_states(m, border, s.sizes, s.corners, s.diagonal, s.weight_hh.shape[1], first, count)


def _peephole_gradient(g: Gradients, dx: Tensor, neighbours: Neighbours) -> Tensor:
    """Returns the gradient of the peephole weights for each image, [D, B, 4, hidden]."""
    s, c, hidden = g.scan, g.c, g.c.shape[-1]
    dx = dx.to(c.dtype)
    i, f, _, o = dx[..., : 4 * hidden].unflatten(-1, (hidden, 4)).unbind(-1)
    up = dx[..., 4 * hidden :]
    border = None if s.c0 is None else s.c0.to(c.dtype)
    c_up, c_left = neighbours(c.permute(1, 2, 3, 0, 4), border, s, 0, 2).unbind(-2)
    c = fill_outside(c, s.sizes, 0)
    return torch.stack([t.sum((2, 3)) for t in (i * (c_up + c_left), f * c_left, up * c_up, o * c)], 2)


def _with_strides_of(weight: Tensor, gradient: Tensor) -> Tensor:
    """Gives a gradient its weight's strides, which the fake kernel promises."""
    expected = torch.empty_like(weight)
    return gradient if gradient.stride() == expected.stride() else expected.copy_(gradient)
