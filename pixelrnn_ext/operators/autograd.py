"""Derivatives of the operators under every transform of torch: autograd in both modes, torch.func, torch.compile.

``torch.library.register_autograd`` gives an operator only a backward. Then forward-mode derivatives are silently zero,
and torch.func refuses the operator. So every operator here also has a *decomposition*, a function in differentiable
PyTorch with the same arguments and results. It replaces the operator if an operand carries a tangent (a forward-mode
derivative).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType
from torch._functorch.utils import enable_single_level_autograd_function
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from .autocast import runs_without_autocast, without_autocast


def register(
    library: torch.library.Library,
    name: str,
    decomposition: Callable[..., Any],
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., tuple[Tensor | None, ...]] | None = None,
) -> None:
    """Registers the derivatives of the operator ``name``, like torch.library.register_autograd.

    The vector-Jacobian product of ``decomposition`` is the default ``backward``.
    """
    op = getattr(getattr(torch.ops, library.ns), name).default
    decomposition = runs_without_autocast(decomposition)
    if backward is None or setup_context is None:
        setup_context, backward = _save_inputs, lambda ctx, *grads: _vjp(decomposition, ctx, grads)

    def redispatch(keyset: Any, args: Sequence[Any]) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op.redispatch(keyset & torch._C._after_autograd_keyset, *args)

    def forward(*inputs: Any) -> Any:
        *args, keyset = inputs
        if not torch._C._are_functorch_transforms_active():
            return redispatch(keyset, args)
        # PyTorch turns off both backward and forward-mode derivatives inside forward(). They are turned on again here,
        # because an outer transform of torch.func may need the derivatives.
        with torch.enable_grad(), _set_fwd_grad_enabled(True):
            return redispatch(keyset, args)

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        setup_context(ctx, inputs[:-1], output)

    members = {
        "forward": staticmethod(forward),
        "setup_context": staticmethod(setup),
        "backward": staticmethod(lambda ctx, *grads: (*backward(ctx, *grads), None)),
        "_compiled_autograd_key": staticmethod(torch.autograd.Function._compiled_autograd_key),
    }
    # Handles only one transform of torch.func. The dispatcher calls ``kernel`` once for each transform.
    function: Any = type("".join(map(str.capitalize, name.split("_"))), (_SingleLevelFunction,), members)
    defaults = [argument.default_value for argument in op._schema.arguments]

    def kernel(keyset: Any, *args: Any) -> Any:
        args = (*args, *defaults[len(args) :])  # the dispatcher drops trailing arguments that equal their defaults
        transformed = torch._C._are_functorch_transforms_active()
        if _may_have_tangents(args, transformed) and any(map(_has_tangent, args)):
            return decomposition(*args)
        if not transformed and not (torch.is_grad_enabled() and torch._C._any_requires_grad(*args)):
            return redispatch(keyset, args)
        with enable_single_level_autograd_function():
            return function.apply(*args, keyset)

    library.impl(name, kernel, "Autograd", with_keyset=True)


def _may_have_tangents(args: Sequence[Any], transformed: bool) -> bool:
    """Returns whether tangents are possible at all, which is known without a look at all arguments."""
    # Inside torch.func and torch.compile, PyTorch may not know that a level of forward-mode derivatives is active.
    first = next(a for a in args if isinstance(a, Tensor))
    return transformed or isinstance(first, (FakeTensor, FunctionalTensor)) or forward_ad._current_level >= 0


def _has_tangent(argument: Any) -> bool:
    # A tangent belongs to a level. PyTorch supports only level 0 so far.
    return isinstance(argument, Tensor) and forward_ad.unpack_dual(argument, level=0).tangent is not None


def is_inside_jvp() -> bool:
    levels = torch._C._functorch.get_interpreter_stack() or ()
    return any(level.key() == TransformType.Jvp for level in levels)


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*(a if isinstance(a, Tensor) else None for a in inputs))
    ctx.non_tensors = [None if isinstance(a, Tensor) else a for a in inputs]


def _vjp(function: Callable[..., Any], ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    args = [rest if t is None else t for t, rest in zip(ctx.saved_tensors, ctx.non_tensors)]
    needed = [i for i, need in enumerate(ctx.needs_input_grad[: len(args)]) if need]

    def needed_inputs_to_outputs(*values: Tensor) -> Any:
        replaced = dict(zip(needed, values))
        outputs = function(*(replaced.get(i, a) for i, a in enumerate(args)))
        return (outputs,) if isinstance(outputs, Tensor) else outputs

    with without_autocast(next(a.device.type for a in args if isinstance(a, Tensor))):
        outputs, pull_back = torch.func.vjp(needed_inputs_to_outputs, *(args[i] for i in needed))[:2]
        gradients = pull_back(
            tuple(torch.zeros_like(out) if grad is None else grad for out, grad in zip(outputs, grads))
        )
    by_input = dict(zip(needed, gradients))
    return tuple(by_input.get(i) for i in range(len(args)))
