"""Computes the masked convolution and its gradients in differentiable PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import reference
from ...masks import masked_weight
from .arguments import Convolution, Gradients


def masked_conv2d(c: Convolution) -> Tensor:
    masking, activation = dict(image_channels=c.image_channels, gates=c.gates), "relu" if c.relu else None
    return reference.masked_conv2d(c.input, c.weight, c.bias, c.mask_type, **masking, activation=activation)


def masked_conv2d_backward(g: Gradients) -> tuple[Tensor, Tensor, Tensor]:
    """Avoids PyTorch's own backward of a convolution, which torch.func of torch 2.11 cannot trace.

    A gradient that is not needed is empty.
    """
    grad = relu_gradient(g)
    dinput, dweight, dbias = (g.input.new_empty(0) for _ in range(3))
    if g.need_input:
        flipped = _masked(g.weight, g).flip(2, 3).transpose(0, 1)
        dinput = F.conv2d(grad, flipped, padding=[side // 2 for side in g.weight.shape[2:]])
    if g.need_weight:
        dweight = weight_gradients(grad, g, 1).squeeze(0)
    if g.need_bias:
        dbias = grad.sum((0, 2, 3))
    return dinput, dweight, dbias


def relu_gradient(g: Gradients) -> Tensor:
    return torch.where(g.output > 0, g.grad_output, 0) if g.relu and g.output is not None else g.grad_output


def weight_gradients(grad: Tensor, g: Gradients, groups: int) -> Tensor:
    """Returns weight gradients of ``groups`` equal groups of images. ``grad`` is from :func:`relu_gradient`."""
    size, images = g.weight.shape[2:], grad.shape[0] // groups
    patches = F.unfold(g.input, size, padding=tuple(side // 2 for side in size)).unflatten(0, (groups, images))
    sums = torch.einsum("nbop,nbip->noi", grad.flatten(2).unflatten(0, (groups, images)), patches)
    return _masked(sums.unflatten(2, g.weight.shape[1:]), g)


def _masked(weight: Tensor, g: Gradients) -> Tensor:
    return masked_weight(weight, g.mask_type, image_channels=g.image_channels, gates=g.gates)
