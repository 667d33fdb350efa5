"""The operators under the layers: fake kernels, derivatives, batching and autocast rules, and the kernels for a GPU.

``torch.ops.pixelrnn_ext.line_scan`` is the recurrence alone; csrc/operators/recurrence.cpp has its schema and the
shapes. ``bilstm_scan`` is that of two directions, merged. The backward of both is one operator, so that compiled graphs
keep it, ``line_scan_gradients``; under a transform of torch.func it is that one's two parts, the recurrence and the
gradients of the weights, which torch.vmap takes for every image apart.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import autograd, batching
from ..autocast import casts_operands, without_autocast
from ..library import why_no_cuda, why_no_native
from . import eager, gpu

Operator = Callable[..., tuple[Tensor, ...]]
SCANS = "line_scan", "bilstm_scan"


def _register() -> None:
    """Once, after the library has defined the schemas."""
    library = register_rules("pixelrnn_ext")
    # On a CPU the state is float32 whatever the autocast dtype is. The CUDA kernels keep c and accumulators in float32
    # themselves, so there a scan runs in the autocast dtype, as torch's own matrix products do.
    for name in SCANS:
        torch.library.register_autocast(f"pixelrnn_ext::{name}", "cpu", torch.float32)
    if why_no_cuda() is None:
        gpu.register("pixelrnn_ext", "cuda")
        for name in SCANS:
            casts_operands(library, name, "cuda")


def register_rules(namespace: str) -> torch.library.Library:
    """Fake kernels, derivatives and batching of the operators of ``namespace``; its library, which holds them."""
    ops, library = getattr(torch.ops, namespace), torch.library.Library(namespace, "FRAGMENT")
    _libraries.append(library)
    for name, fake, batch in (
        ("line_scan", _scan_fake, _scan_batch),
        ("bilstm_scan", _bilstm_fake, _bilstm_batch),
        ("line_scan_backward", _backward_fake, _backward_batch),
        ("line_scan_weight_grad", _weight_grad_fake, _weight_grad_batch),
        ("line_scan_gradients", _gradients_fake, _gradients_batch),
    ):
        torch.library.register_fake(f"{namespace}::{name}", fake)
        torch.library.register_vmap(f"{namespace}::{name}", partial(batch, getattr(ops, name)))
    autograd.register(library, "line_scan", eager.line_scan, _scan_setup, partial(_scan_backward, ops))
    autograd.register(library, "bilstm_scan", eager.bilstm_scan, _bilstm_setup, partial(_bilstm_backward, ops))
    autograd.register(library, "line_scan_backward", eager.line_scan_backward)
    autograd.register(library, "line_scan_weight_grad", eager.line_scan_weight_grad)
    autograd.register(library, "line_scan_gradients", eager.line_scan_gradients)
    return library


_libraries: list[torch.library.Library] = []  # a library's registrations live as long as it


def _scan_fake(
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
    directions, _, hidden, _, _ = weight.shape
    if x is not None:
        _, images, height, width, *_ = x.shape
    else:
        assert input is not None  # the operator has checked that there is x or input
        images, height, width, _ = input.shape
    size = (directions, images, height, width, hidden)
    dtype = weight.dtype
    return (
        weight.new_empty(size),
        weight.new_empty(size, dtype=eager.state_dtype(dtype)),
        weight.new_empty(*size, 4, dtype=eager.gates_dtype(dtype)),
    )


def _bilstm_fake(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    h, c, gates = _scan_fake(*args)
    return h.new_empty(h.shape[1:]), h, c, gates


def _backward_fake(
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
    directions, images, _, _, hidden = c.shape
    dh0, dc0 = (c.new_empty(0 if state is None else directions, images, hidden) for state in (h0, c0))
    return weight.new_empty(gates.shape), dh0, dc0


def _weight_grad_fake(
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
    directions, hidden = dx.shape[0], dx.shape[4]
    channels = 0 if input is None else input.shape[3]
    return (
        dx.new_empty(0 if h is None else directions, taps, hidden, 4, hidden),
        dx.new_empty(0 if input is None else directions, input_taps, hidden, 4, channels),
        dx.new_empty(directions if bias else 0, hidden, 4),
    )


def _gradients_fake(
    dh: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    input: Tensor | None,
    weight_ih: Tensor | None,
    h: Tensor,
    c: Tensor,
    gates: Tensor,
    input_kernel: int,
    diagonal: bool,
    reverse: bool,
    of_x: bool,
    of_weight: bool,
    of_input: bool,
    of_weight_ih: bool,
    of_bias: bool,
    path: str = "auto",
    tf32: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    taps, directions, images, height, width, hidden = weight.shape[1], *c.shape
    channels = 0 if input is None else input.shape[3]
    input_taps = 0 if weight_ih is None else weight_ih.shape[1]
    dh0, dc0 = (c.new_empty(0 if state is None else directions, images, hidden) for state in (h0, c0))
    if of_weight_ih:
        assert weight_ih is not None  # the operator has checked that it goes with its input
        dweight_ih = torch.empty_like(weight_ih)
    else:
        dweight_ih = weight.new_empty(0, input_taps, hidden, 4, channels)
    return (
        weight.new_empty(directions if of_x else 0, images, height, width, hidden, 4),
        torch.empty_like(weight) if of_weight else weight.new_empty(0, taps, hidden, 4, hidden),
        dh0,
        dc0,
        weight.new_empty(images if of_input else 0, height, width, channels),
        dweight_ih,
        weight.new_empty(directions if of_bias else 0, hidden, 4),
    )


# Batching. The axes of images by the place of the argument.
def _scan_batch(op: Operator, info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    return batching.folded(op, {0: 1, 4: 0}, (1, 1, 1), info, in_dims, args)


def _bilstm_batch(op: Operator, info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    return batching.folded(op, {0: 1, 4: 0}, (0, 1, 1, 1), info, in_dims, args)


def _backward_batch(op: Operator, info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    return batching.folded(op, {0: 1, 4: 1, 5: 1}, (1, 1, 1), info, in_dims, args)


def _weight_grad_batch(op: Operator, info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    axes = {0: 1, 1: 1, 3: 0}
    if in_dims[2] is not None:  # of h0
        return batching.each(op, info, in_dims, args)
    folded, _ = batching.fold(axes, info, in_dims, args)
    return eager.grouped_weight_grad(info.batch_size, *folded), (1, 1, 1)


def _gradients_batch(op: Operator, info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    return batching.each(op, info, in_dims, args)  # of the operator alone: the derivative below takes its parts


def _scan_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, weight, h0, c0, input, weight_ih, _, *ctx.options = inputs
    ctx.save_for_backward(weight, h0, c0, input, weight_ih, *output)


def _scan_backward(
    ops: Any, ctx: Any, dh: Tensor | None, dc: Tensor | None, dgates: Tensor | None
) -> tuple[Tensor | None, ...]:
    weight, h0, c0, input, weight_ih, h, c, gates = ctx.saved_tensors  # once: activation checkpoints allow no more
    scan, path = ctx.options[:3], ctx.options[3:]
    need_x, need_weight, need_h0, need_c0, need_input, need_weight_ih, need_bias = ctx.needs_input_grad[:7]
    with without_autocast(weight.device.type):  # it is on where backward() is called inside its region
        if dh is None and dc is None and dgates is None:
            return (None,) * (7 + len(ctx.options))
        of = need_x, need_weight, need_input, need_weight_ih, need_bias
        arguments = dh, weight, h0, c0, input, weight_ih, h, c, gates, *scan, *of, *path
        if dc is not None or dgates is not None:  # from a second derivative
            backward = partial(eager.line_scan_backward, dc=dc, dgates=dgates)
            gradients = eager.line_scan_gradients(*arguments, scan_backward=backward)
        elif torch._C._are_functorch_transforms_active():  # torch.vmap batches the parts better than the whole
            parts = ops.line_scan_backward, ops.line_scan_weight_grad
            gradients = eager.line_scan_gradients(*arguments, scan_backward=parts[0], weight_grad=parts[1])
        else:
            gradients = ops.line_scan_gradients(*arguments)
        dx, dweight, dh0, dc0, dinput, dweight_ih, dbias = gradients
        return (
            dx if need_x else None,
            dweight if need_weight else None,
            dh0.sum(1).to(weight.dtype) if need_h0 else None,
            dc0.sum(1).to(weight.dtype) if need_c0 else None,
            dinput if need_input else None,
            dweight_ih if need_weight_ih else None,
            dbias if need_bias else None,
            *(None for _ in ctx.options),
        )


def _bilstm_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _scan_setup(ctx, inputs, output[1:])


def _bilstm_backward(
    ops: Any, ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, dgates: Tensor | None
) -> tuple[Tensor | None, ...]:
    if dy is not None:  # dh comes from a second derivative
        dh = dy if dh is None else dh + eager.split_directions(dy)
    return _scan_backward(ops, ctx, dh, dc, dgates)


if why_no_native() is None:
    _register()
