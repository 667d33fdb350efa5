"""The operator under masked_conv2d: its paths by device, fake kernels, derivatives, batching, and the autocast rule.

``torch.ops.pixelrnn_ext.masked_conv2d`` and ``masked_conv2d_backward`` are Python operators: on a CPU the compiled
kernels compute them (:mod:`pixelrnn_ext.operators.masked_conv.cpu`), on a GPU Triton kernels, which need no compiled
library.
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import reference
from ...masks import Mask, masked_weight
from .. import autograd, batching
from ..autocast import casts_operands, runs_without_autocast
from ..devices import on_one_device
from . import cpu
from .cpu import memory_format

_library = torch.library.Library("pixelrnn_ext", "FRAGMENT")
_library.define(
    "masked_conv2d(Tensor input, Tensor weight, Tensor? bias, str mask_type, int image_channels, int gates, bool relu)"
    " -> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)
_library.define(
    "masked_conv2d_backward(Tensor grad_output, Tensor? output, Tensor input, Tensor weight, str mask_type,"
    " int image_channels, int gates, bool relu, bool need_input, bool need_weight, bool need_bias)"
    " -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_OPS = torch.ops.pixelrnn_ext


def _kernels(tensor: Tensor) -> ModuleType:
    if not tensor.is_cuda:
        return cpu
    from . import gpu  # here, so that importing the package does not import triton

    return gpu


def masked_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, mask_type: str, image_channels: int, gates: int, relu: bool
) -> Tensor:
    y = _kernels(input).forward(input, weight, bias, Mask(mask_type, image_channels, gates), relu)
    return y.contiguous(memory_format=memory_format(input))


def masked_conv2d_backward(
    grad_output: Tensor,
    output: Tensor | None,
    input: Tensor,
    weight: Tensor,
    mask_type: str,
    image_channels: int,
    gates: int,
    relu: bool,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input, the weight and the bias, each without elements where it is not needed."""
    mask, needs = Mask(mask_type, image_channels, gates), (need_input, need_weight, need_bias)
    grads = _kernels(input).backward(grad_output, output, input, weight, mask, relu, *needs)
    formats = memory_format(input), memory_format(weight), torch.contiguous_format
    dinput, dweight, dbias = (
        input.new_empty(0) if grad is None else grad.contiguous(memory_format=layout)
        for grad, layout in zip(grads, formats)
    )
    return dinput, dweight, dbias


def _fake(
    input: Tensor, weight: Tensor, bias: Tensor | None, mask_type: str, image_channels: int, gates: int, relu: bool
) -> Tensor:
    size = input.shape[0], weight.shape[0], input.shape[2], input.shape[3]
    return torch.empty(size, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


def _backward_fake(
    grad_output: Tensor,
    output: Tensor | None,
    input: Tensor,
    weight: Tensor,
    mask_type: str,
    image_channels: int,
    gates: int,
    relu: bool,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    def like(tensor: Tensor, needed: bool) -> Tensor:
        if not needed:
            return tensor.new_empty(0)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=memory_format(tensor))

    return like(input, need_input), like(weight, need_weight), input.new_empty(weight.shape[0] if need_bias else 0)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, *ctx.options = inputs
    relu = ctx.options[-1]
    ctx.save_for_backward(input, weight, output if relu else None)


def _gradients(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    input, weight, output = ctx.saved_tensors
    needs = ctx.needs_input_grad[:3]
    grads = _OPS.masked_conv2d_backward(grad, output, input, weight, *ctx.options, *needs)
    return *(grad if need else None for grad, need in zip(grads, needs)), None, None, None, None


def _decomposed(
    input: Tensor, weight: Tensor, bias: Tensor | None, mask_type: str, image_channels: int, gates: int, relu: bool
) -> Tensor:
    """What the operator computes, in PyTorch that has derivatives."""
    activation = "relu" if relu else None
    return reference.masked_conv2d(
        input, weight, bias, mask_type, image_channels=image_channels, gates=gates, activation=activation
    )


def _decomposed_backward(
    grad_output: Tensor,
    output: Tensor | None,
    input: Tensor,
    weight: Tensor,
    mask_type: str,
    image_channels: int,
    gates: int,
    relu: bool,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """In convolutions and products, since torch.func of torch 2.11 does not trace the derivative of aten's own
    backward."""
    options = dict(image_channels=image_channels, gates=gates)
    grad = torch.where(output > 0, grad_output, 0) if relu and output is not None else grad_output
    dinput, dweight, dbias = (input.new_empty(0) for _ in range(3))
    if need_input:
        flipped = masked_weight(weight, mask_type, **options).flip(2, 3).transpose(0, 1)
        dinput = F.conv2d(grad, flipped, padding=[side // 2 for side in weight.shape[2:]])
    if need_weight:
        dweight = masked_weight(_weight_sums(grad, input, weight, 1).squeeze(0), mask_type, **options)
    if need_bias:
        dbias = grad.sum((0, 2, 3))
    return dinput, dweight, dbias


def _weight_sums(grad: Tensor, input: Tensor, weight: Tensor, groups: int) -> Tensor:
    """(groups, *weight.shape): for each group of images that follow one another the unmasked gradient of the weight,
    from the patches that the convolution reads."""
    size, images = weight.shape[2:], grad.shape[0] // groups
    patches = F.unfold(input, size, padding=tuple(side // 2 for side in size)).unflatten(0, (groups, images))
    sums = torch.einsum("nbop,nbip->noi", grad.flatten(2).unflatten(0, (groups, images)), patches)
    return sums.unflatten(2, weight.shape[1:])


# Batching. The gradients of weight and bias are sums over images; a batch of those sums comes from one batched product.
def _batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> tuple[Tensor, int]:
    return batching.folded_one(_OPS.masked_conv2d, {0: 0}, 0, info, in_dims, args)


def _backward_batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    if in_dims[3] is not None:  # of weights too
        return batching.each(_OPS.masked_conv2d_backward, info, in_dims, args)
    folded, images = batching.fold({0: 0, 1: 0, 2: 0}, info, in_dims, args)
    grad, output, input, weight, mask_type, image_channels, gates, relu, *needs = folded
    dinput, dweight, dbias = (input.new_empty(info.batch_size, 0) for _ in needs)
    if needs[0]:
        dinput = _OPS.masked_conv2d_backward(*folded[:-3], True, False, False)[0].unflatten(
            0, (info.batch_size, images)
        )
    grad = torch.where(output > 0, grad, 0) if relu and (needs[1] or needs[2]) else grad
    if needs[1]:
        sums = _weight_sums(grad, input, weight, info.batch_size)
        dweight = masked_weight(sums, mask_type, image_channels=image_channels, gates=gates)
    if needs[2]:
        dbias = grad.unflatten(0, (info.batch_size, images)).sum((1, 3, 4))
    return (dinput, dweight, dbias), (0, 0, 0)


for _name, _kernel, _fake_kernel, _batching_rule in (
    ("masked_conv2d", masked_conv2d, _fake, _batch),
    ("masked_conv2d_backward", masked_conv2d_backward, _backward_fake, _backward_batch),
):
    # Autocast is on where backward() is called inside its region.
    _checked = runs_without_autocast(on_one_device(getattr(_OPS, _name).default, _kernel))
    for _device in ("CPU", "CUDA"):
        _library.impl(_name, _checked, _device)
    torch.library.register_fake(f"pixelrnn_ext::{_name}", _fake_kernel, lib=_library)
    torch.library.register_vmap(f"pixelrnn_ext::{_name}", _batching_rule, lib=_library)
autograd.register(_library, "masked_conv2d", _decomposed, _setup, _gradients)
autograd.register(_library, "masked_conv2d_backward", _decomposed_backward)
for _device in ("cpu", "cuda"):
    casts_operands(_library, "masked_conv2d", _device)
