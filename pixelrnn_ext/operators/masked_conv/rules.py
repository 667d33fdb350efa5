"""Defines the operators behind masked_conv2d in Python, and registers their rules with torch."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from .. import autograd, batching
from ..autocast import register_casts, runs_without_autocast
from ..operands import on_one_device
from . import cpu, eager
from .arguments import Convolution, Gradients
from .cpu import memory_format, new_map

_library = torch.library.Library("pixelrnn_ext", "FRAGMENT")
_library.define(
    "masked_conv2d(Tensor input, Tensor weight, Tensor? bias, str mask_type, int image_channels, int gates, bool relu,"
    " bool tf32=False) -> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)
_library.define(
    "masked_conv2d_backward(Tensor grad_output, Tensor? output, Tensor input, Tensor weight, str mask_type,"
    " int image_channels, int gates, bool relu, bool need_input, bool need_weight, bool need_bias,"
    " bool tf32=False) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_OPS = torch.ops.pixelrnn_ext


def _kernels(tensor: Tensor) -> ModuleType:
    if not tensor.is_cuda:
        return cpu
    # The module ``gpu`` is imported only for a tensor on a GPU, because ``gpu`` imports triton if triton is installed.
    from . import gpu

    return gpu


def masked_conv2d(*args: Any) -> Tensor:
    c = Convolution(*args)
    return _kernels(c.input).forward(c).contiguous(memory_format=memory_format(c.input))


def masked_conv2d_backward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    g = Gradients(*args)
    formats = memory_format(g.input), memory_format(g.weight), torch.contiguous_format
    dinput, dweight, dbias = (
        g.input.new_empty(0) if grad is None else grad.contiguous(memory_format=layout)
        for grad, layout in zip(_kernels(g.input).backward(g), formats)
    )
    return dinput, dweight, dbias


def _fake(*args: Any) -> Tensor:
    c = Convolution(*args)
    return new_map(c.input, c.weight.shape[0])


def _backward_fake(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    g = Gradients(*args)
    dinput = new_map(g.input, g.input.shape[1]) if g.need_input else g.input.new_empty(0)
    dweight = new_map(g.weight, g.weight.shape[1]) if g.need_weight else g.weight.new_empty(0)
    return dinput, dweight, g.input.new_empty(g.weight.shape[0] if g.need_bias else 0)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, *ctx.options = inputs
    ctx.save_for_backward(input, weight, output if Convolution(*inputs).relu else None)


def _gradients(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * len(Convolution._fields)
    input, weight, output = ctx.saved_tensors
    *options, tf32 = ctx.options
    needs = ctx.needs_input_grad[:3]
    grads = _OPS.masked_conv2d_backward(grad, output, input, weight, *options, *needs, tf32)
    return *(grad if need else None for grad, need in zip(grads, needs)), *(None for _ in ctx.options)


def _batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> tuple[Tensor, int]:
    outputs, dims = batching.run_folded(lambda *args: (_OPS.masked_conv2d(*args),), {0: 0}, (0,), info, in_dims, args)
    return outputs[0], dims[0]


def _backward_batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    """Runs the backward pass under torch.vmap.

    One batched matrix product computes the weight gradients of all members of torch.vmap's batch. If the weight itself
    is batched, the operator runs once for each member.
    """
    if in_dims[Gradients._fields.index("weight")] is not None:
        return batching.run_each_member(_OPS.masked_conv2d_backward, info, in_dims, args)
    axes = {Gradients._fields.index(name): 0 for name in ("grad_output", "output", "input")}
    folded, images = batching.fold_batch(axes, info, in_dims, args)
    g, members = Gradients(*folded), (info.batch_size, images)
    dinput, dweight, dbias = (g.input.new_empty(info.batch_size, 0) for _ in range(3))
    if g.need_input:
        input_only = g._replace(need_weight=False, need_bias=False)
        dinput = _OPS.masked_conv2d_backward(*input_only)[0].unflatten(0, members)
    if g.need_weight or g.need_bias:
        grad = eager.relu_gradient(g)
    if g.need_weight:
        dweight = eager.weight_gradients(grad, g, info.batch_size)
    if g.need_bias:
        dbias = grad.unflatten(0, members).sum((1, 3, 4))
    return (dinput, dweight, dbias), (0, 0, 0)


for _name, _kernel, _fake_kernel, _batching_rule in (
    ("masked_conv2d", masked_conv2d, _fake, _batch),
    ("masked_conv2d_backward", masked_conv2d_backward, _backward_fake, _backward_batch),
):
    # The kernels run without autocast, because backward() may be called inside an autocast region.
    _checked = runs_without_autocast(on_one_device(getattr(_OPS, _name).default, _kernel))
    for _device in ("CPU", "CUDA"):
        _library.impl(_name, _checked, _device)
    torch.library.register_fake(f"pixelrnn_ext::{_name}", _fake_kernel, lib=_library)
    torch.library.register_vmap(f"pixelrnn_ext::{_name}", _batching_rule, lib=_library)
autograd.register(_library, "masked_conv2d", lambda *args: eager.masked_conv2d(Convolution(*args)), _setup, _gradients)
autograd.register(_library, "masked_conv2d_backward", lambda *args: eager.masked_conv2d_backward(Gradients(*args)))
for _device in ("cpu", "cuda"):
    register_casts(_library, "masked_conv2d", _device)
