"""The log-probability of values: in PyTorch, and by the operator ``log_prob`` (csrc/operators/likelihood.cpp)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import autograd, batching
from .backends import kernel_dtype
from .library import why_no_native

_OPS = torch.ops.pixelrnn_ext
# The kernels take no fewer levels (kMinLevels in csrc/cpu/kernels.h).
_MIN_LEVELS = 16


def log_prob(logits: Tensor, values: Tensor) -> Tensor:
    """Returns the log-probability of each value in nats, (N, ...), in float32, or float64 for float64 logits.

    The CPU kernels read the logits once, and once more for the gradient. PyTorch alone would also store a map of all
    log-probabilities and a second map of gradients.

    Args:
        logits: (N, ..., levels).
        values: (N, ...) of int64 in [0, levels). The kernels raise RuntimeError for another value.
    """
    if logits.device.type == "cpu" and logits.shape[-1] >= _MIN_LEVELS and why_no_native() is None:
        return _OPS.log_prob(logits.to(kernel_dtype("cpu", logits.dtype)), values)[0]
    return _eager(logits, values)


def _eager(logits: Tensor, values: Tensor) -> Tensor:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.log_softmax(-1).gather(-1, values.unsqueeze(-1)).squeeze(-1)


def _decomposition(logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    result = _eager(logits, values)
    return result, result.new_zeros(*values.shape, 2)  # the decomposition of the backward reads no normaliser


def _backward_decomposition(grad: Tensor, logits: Tensor, values: Tensor, normaliser: Tensor) -> Tensor:
    one_hot = F.one_hot(values, logits.shape[-1])
    return (grad.unsqueeze(-1) * (one_hot - logits.to(grad.dtype).softmax(-1))).to(logits.dtype)


def _fake(logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.new_empty(values.shape, dtype=dtype), logits.new_empty((*values.shape, 2), dtype=dtype)


def _backward_fake(grad: Tensor, logits: Tensor, values: Tensor, normaliser: Tensor) -> Tensor:
    return logits.new_empty(logits.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _gradients(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, None]:
    return None if grad is None else _OPS.log_prob_backward(grad, *ctx.saved_tensors), None


def _batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> batching.Outputs:
    return batching.run_folded(_OPS.log_prob, {0: 0, 1: 0}, (0, 0), info, in_dims, args)


def _backward_batch(info: batching.Info, in_dims: batching.Dims, *args: Any) -> tuple[Tensor, int]:
    def op(*args: Tensor) -> tuple[Tensor]:
        return (_OPS.log_prob_backward(*args),)

    outputs, dims = batching.run_folded(op, dict.fromkeys(range(4), 0), (0,), info, in_dims, args)
    return outputs[0], dims[0]


def _register() -> None:
    for name, fake, batch in (("log_prob", _fake, _batch), ("log_prob_backward", _backward_fake, _backward_batch)):
        torch.library.register_fake(f"pixelrnn_ext::{name}", fake, lib=_library)
        torch.library.register_vmap(f"pixelrnn_ext::{name}", batch, lib=_library)
    autograd.register(_library, "log_prob", _decomposition, _setup, _gradients)
    autograd.register(_library, "log_prob_backward", _backward_decomposition)


if why_no_native() is None:
    _library = torch.library.Library("pixelrnn_ext", "FRAGMENT")
    _register()
