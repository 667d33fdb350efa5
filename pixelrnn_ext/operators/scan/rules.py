"""Registers the rules of the scan operators with torch: fake kernels, derivatives, batching and autocast."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import autograd, batching
from ..autocast import register_casts, without_autocast
from ..backends import kernel_dtype
from ..library import why_no_cuda, why_no_native
from . import eager, gpu, self_check
from .arguments import OPERANDS, SHARED, Gradients, Scan
from .products import displaced_states, weight_gradients

Operator = Callable[..., tuple[Tensor, ...]]
# The axis of images of each tensor. Weights' gradients have an axis of groups of images instead.
_AXES_OF_SCAN = {"input": 0, "x": 1, "sizes": 0}
_AXES_OF_OUTPUTS = 0, 0, 1, 1  # y, h, c and gates
_AXES_OF_SAVED = {"dh": 0, "h": 0, "c": 1, "gates": 1}
_AXES_OF_GRADIENTS = {name: 0 if name == "input" else 1 for name in OPERANDS}
_WEIGHTS = "weight_ih", "bias", "weight_hh"


def _register() -> None:
    library = register_rules("pixelrnn_ext")
    register_casts(library, "scan", "cpu", partial(kernel_dtype, "cpu"))
    if why_no_cuda() is None:
        gpu.register("pixelrnn_ext", "cuda", self_check.trusted)
        register_casts(library, "scan", "cuda")


def register_rules(namespace: str) -> torch.library.Library:
    ops, library = getattr(torch.ops, namespace), torch.library.Library(namespace, "FRAGMENT")
    _libraries.append(library)
    for name, fake, batch in (
        ("scan", lambda *args: Scan(*args).new_outputs(), _scan_batch),
        ("scan_gradients", _gradients_fake, _gradients_batch),
    ):
        torch.library.register_fake(f"{namespace}::{name}", fake, lib=library)
        torch.library.register_vmap(f"{namespace}::{name}", partial(batch, getattr(ops, name)), lib=library)
    autograd.register(library, "scan", lambda *args: eager.scan(Scan(*args)), _setup, partial(_backward, ops))
    autograd.register(library, "scan_gradients", lambda *args: eager.scan_gradients(Gradients.bind(*args)))
    return library


# This list keeps Library objects alive, because deleting a Library object removes its rules.
_libraries: list[torch.library.Library] = []


def _gradients_fake(*args: Any) -> tuple[Tensor, ...]:
    g = Gradients.bind(*args)
    # The kernels give a weight's gradient the strides of the weight.
    grads = {name: torch.empty_like(g.scan.operands[name]) for name in _WEIGHTS if g.wants(name)}
    return tuple(grads.get(name, g.new_gradient(name)) for name in OPERANDS)


def _scan_batch(op: Operator, info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    axes = {Scan._fields.index(name): axis for name, axis in _AXES_OF_SCAN.items()}
    return batching.run_folded(op, axes, _AXES_OF_OUTPUTS, info, _tensor_dims(in_dims), args)


def _gradients_batch(op: Operator, info: batching.Info, in_dims: Sequence[Any], *args: Any) -> batching.Outputs:
    """Runs one backward pass for the whole vmap batch, or one for each member if parameters are batched."""
    in_dims = _tensor_dims(in_dims)
    dims = Gradients.bind(*in_dims).scan
    if any(dim is not None for name, dim in zip(OPERANDS, dims) if name not in _AXES_OF_SCAN):
        return batching.run_each_member(op, info, in_dims, args)
    fields = *Gradients._fields[:-1], *Scan._fields
    axes = {fields.index(name): axis for name, axis in (_AXES_OF_SAVED | _AXES_OF_SCAN).items()}
    folded, images = batching.fold_batch(axes, info, in_dims, args)
    g, groups = Gradients.bind(*folded), info.batch_size
    weights_wanted = any(g.wants(name) for name in _WEIGHTS)
    wanted = [
        name not in _WEIGHTS and (want or (name == "x" and weights_wanted)) for name, want in zip(OPERANDS, g.wanted)
    ]
    grads = dict(zip(OPERANDS, op(*g._replace(wanted=wanted, shares=True).flat)))
    weights = weight_gradients(g, grads["x"], groups, displaced_states) if weights_wanted else {}
    if not g.wants("x"):
        grads["x"] = grads["x"].narrow(-1, 0, 0)
    for name, axis in _AXES_OF_GRADIENTS.items():
        if name in _WEIGHTS:
            unwanted = grads[name].unsqueeze(1).expand(-1, groups, *grads[name].shape[1:])
            grads[name] = weights.get(name, unwanted)
        else:
            grads[name] = grads[name].unflatten(axis, (groups, images))
            if name in SHARED and not g.shares:
                grads[name] = grads[name].sum(2)
    return tuple(grads.values()), tuple(_AXES_OF_GRADIENTS.values())


def _tensor_dims(in_dims: Sequence[Any]) -> batching.Dims:
    """torch.vmap gives a list for an argument that is a list. Such an argument is never batched."""
    return [dim if isinstance(dim, int) else None for dim in in_dims]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors = len(OPERANDS) + 1
    ctx.options = inputs[tensors:]
    ctx.save_for_backward(*inputs[:tensors], *output[1:])


def _backward(
    ops: Any, ctx: Any, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None, dgates: Tensor | None
) -> tuple[Tensor | None, ...]:
    # Reads saved_tensors only once, because activation checkpointing forbids a second read.
    *tensors, h, c, gates = ctx.saved_tensors
    s, wanted = Scan(*tensors, *ctx.options), list(ctx.needs_input_grad[: len(OPERANDS)])
    dy = dy if s.merges else None
    outer, others = (dy, (dh, dc, dgates)) if s.merges else (dh, (dc, dgates))
    with without_autocast(h.device.type):  # backward() may be called inside an autocast region
        # Plain PyTorch runs if an output that the layers do not use, such as c, has a gradient. It also runs inside
        # torch.func.jvp, where the decomposition of scan_gradients cannot call torch.func.vjp.
        if any(t is not None for t in others) or (outer is not None and autograd.is_inside_jvp()):
            shares: dict[str, Tensor] = eager.operand_gradients((dy, dh, dc, dgates), s, wanted)
            grads = {name: t.sum(1) if name in SHARED else t for name, t in shares.items()}
        elif outer is not None:
            grads = dict(zip(OPERANDS, ops.scan_gradients(outer, h, c, gates, wanted, False, *s)))
        else:
            grads = {}
        grads |= {name: grads[name].to(h.dtype) for name in SHARED if name in grads and grads[name].dtype != h.dtype}
        gradients = (grads.get(name) if want else None for name, want in zip(OPERANDS, wanted))
        return *gradients, *(None for _ in s[len(OPERANDS) :])


if why_no_native() is None:
    _register()
