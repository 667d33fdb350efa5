"""Derivatives of an operator that is itself a backward, by way of differentiable PyTorch that computes the same."""

import torch
from torch import Tensor

from ._autocast import without_autocast


def save_inputs(ctx, inputs, output):
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*(t if isinstance(t, Tensor) else None for t in inputs))
    ctx.rest = [None if isinstance(t, Tensor) else t for t in inputs]


def vjp(function, ctx, grads):
    """Gradients of ``function``, which computes in differentiable PyTorch what the operator of ``ctx`` does."""
    higher, device = torch.is_grad_enabled(), next(t.device.type for t in ctx.saved_tensors if t is not None)
    with torch.enable_grad(), without_autocast(device):
        # A view of each input, so that the graph that is differentiated ends here, and yet goes on in a higher derivative.
        args = [rest if t is None else t.view_as(t) for t, rest in zip(ctx.saved_tensors, ctx.rest)]
        needed = [i for i, need in enumerate(ctx.needs_input_grad) if need]
        outputs = function(*args)
        used = [(out, grad) for out, grad in zip(outputs, grads) if grad is not None and out.requires_grad]
        result = [None] * len(args)
        if used and needed:
            found = torch.autograd.grad(
                [out for out, _ in used], [args[i] for i in needed], [grad for _, grad in used], create_graph=higher, allow_unused=True
            )
            for i, grad in zip(needed, found):
                result[i] = grad
    return tuple(result)
