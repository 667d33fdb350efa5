"""The operator under masked_conv2d: its paths by device, fake kernels, autograd, and the autocast rule.

``torch.ops.pixelrnn_ext.masked_conv2d`` and ``masked_conv2d_backward`` are Python operators: on a CPU the compiled kernels
compute them (:mod:`pixelrnn_ext._masked_conv_cpu`), on a GPU Triton kernels, which need no compiled library. Derivatives of
the backward go through convolutions of PyTorch.
"""

import torch
from torch import Tensor

from . import _masked_conv_cpu
from ._autocast import casts_operands, runs_without_autocast
from ._devices import on_one_device
from ._double_backward import save_inputs, vjp
from ._masked_conv_cpu import memory_format
from .masks import Mask, masked_weight


def _kernels(tensor: Tensor):
    if not tensor.is_cuda:
        return _masked_conv_cpu
    from . import _masked_conv_triton  # here, so that importing the package does not import triton

    return _masked_conv_triton


@torch.library.custom_op("pixelrnn_ext::masked_conv2d", mutates_args=())
@runs_without_autocast
@on_one_device
def masked_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None, mask_type: str, image_channels: int, gates: int, relu: bool
) -> Tensor:
    y = _kernels(input).forward(input, weight, bias, Mask(mask_type, image_channels, gates), relu)
    return y.contiguous(memory_format=memory_format(input))


@torch.library.custom_op("pixelrnn_ext::masked_conv2d_backward", mutates_args=())
@runs_without_autocast  # it is on where backward() is called inside its region
@on_one_device
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
    return tuple(
        input.new_empty(0) if grad is None else grad.contiguous(memory_format=layout) for grad, layout in zip(grads, formats)
    )


@masked_conv2d.register_fake
def _fake(input, weight, bias, mask_type, image_channels, gates, relu):
    size = input.shape[0], weight.shape[0], input.shape[2], input.shape[3]
    return torch.empty(size, dtype=input.dtype, device=input.device, memory_format=memory_format(input))


@masked_conv2d_backward.register_fake
def _backward_fake(
    grad_output, output, input, weight, mask_type, image_channels, gates, relu, need_input, need_weight, need_bias
):
    def like(tensor, needed):
        if not needed:
            return tensor.new_empty(0)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device, memory_format=memory_format(tensor))

    return like(input, need_input), like(weight, need_weight), input.new_empty(weight.shape[0] if need_bias else 0)


def _setup(ctx, inputs, output):
    input, weight, _, *ctx.options = inputs
    relu = ctx.options[-1]
    ctx.save_for_backward(input, weight, output if relu else None)


def _gradients(ctx, grad):
    input, weight, output = ctx.saved_tensors
    needs = ctx.needs_input_grad[:3]
    grads = masked_conv2d_backward(grad, output, input, weight, *ctx.options, *needs)
    return *(grad if need else None for grad, need in zip(grads, needs)), None, None, None, None


def _differentiable_backward(
    grad_output, output, input, weight, mask_type, image_channels, gates, relu, need_input, need_weight, need_bias
):
    """What the operator computes, in PyTorch that has a derivative."""
    live = masked_weight(weight, mask_type, image_channels=image_channels, gates=gates)
    grad = torch.where(output > 0, grad_output, 0) if relu else grad_output
    # Plain ints: the formula's second derivative takes no traced sizes.
    padding, sizes = [int(side) // 2 for side in weight.shape[2:]], [weight.shape[0]]
    needs = [need_input, need_weight, need_bias]
    dinput, dweight, dbias = torch.ops.aten.convolution_backward(
        grad, input, live, sizes, [1, 1], padding, [1, 1], False, [0, 0], 1, needs
    )
    if need_weight:
        dweight = masked_weight(dweight, mask_type, image_channels=image_channels, gates=gates)
    return tuple(input.new_empty(0) if grad is None else grad for grad in (dinput, dweight, dbias))


def _backward_gradients(ctx, *grads):
    return vjp(_differentiable_backward, ctx, grads)


masked_conv2d.register_autograd(_gradients, setup_context=_setup)
masked_conv2d_backward.register_autograd(_backward_gradients, setup_context=save_inputs)


_library = torch.library.Library("pixelrnn_ext", "FRAGMENT")
for _device in ("cpu", "cuda"):
    casts_operands(_library, "masked_conv2d", _device)
