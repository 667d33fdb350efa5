"""Counts the operators that torch dispatches on a GPU."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

OPERATOR, VIEW, ALLOCATION = "operator", "view", "allocation"
_ALLOCATIONS = "aten::empty", "aten::new_empty"
# Operators whose result, or its size, the CPU must know, so that it waits for a GPU.
_WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero")


class OperatorCounter(TorchDispatchMode):
    """Counts the operators on CUDA tensors that are dispatched while the mode is active.

    Attributes:
        counts: maps (phase, kind, name) to a number. A kind is ``OPERATOR``, ``VIEW`` or ``ALLOCATION``.
        phase: the phase that is counted now.
        kernels: maps operators to Python implementations, whose operators are counted, too.
        waits: the operators for which the CPU would wait for the GPU. The counter answers 1 for a value that it would
            have to read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.waits: Counter[str] = Counter()
        self.phase: str = ""
        self.kernels: dict[str, Callable[..., Any]] = {}

    def launched(self, name: str) -> None:
        """Counts a call of a stand-in for a compiled operator, or for a Triton kernel."""
        self.counts[self.phase, OPERATOR, name] += 1

    def total(self, phase: str = "", *kinds: str) -> int:
        return sum(n for (part, kind, _), n in self.counts.items() if part == phase and kind in kinds)

    @contextmanager
    def phases(self, phase: str) -> Iterator[None]:
        """Counts operators under the name ``phase``."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name, kwargs or {}
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name in self.kernels and _is_on_gpu(inputs):
            self.launched(name)
            with self:
                return self.kernels[name](*args)
        # Below autograd, composite operators such as matmul arrive here before torch has replaced them by their parts.
        if func.namespace == "aten":
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if (_is_on_gpu(inputs) or name == "aten::_to_copy") and _waits(name, args, kwargs):
            self.waits[name] += 1
            if name in ("aten::_local_scalar_dense", "aten::equal"):
                return 1
        result = func(*args, **kwargs)
        results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        kind = None if _copies_nothing(name, inputs, results) else _kind(func, name)
        if kind and _is_on_gpu([*inputs, *results]):
            self.counts[self.phase, kind, name] += 1
        return result


def _is_on_gpu(tensors: list[Tensor]) -> bool:
    return any(t.device.type == "cuda" for t in tensors)


def _kind(func: Any, name: str) -> str | None:
    """Returns the kind of an operator, or None if it neither returns nor writes a tensor."""
    schema = func._schema
    if any(result.alias_info and not result.alias_info.is_write for result in schema.returns):
        return VIEW
    if name.startswith("aten::_unsafe_view"):
        return VIEW
    if name.startswith(_ALLOCATIONS):
        return ALLOCATION
    returns = any("Tensor" in str(result.type) for result in schema.returns)
    writes = any(argument.alias_info and argument.alias_info.is_write for argument in schema.arguments)
    return OPERATOR if returns or writes else None


def _copies_nothing(name: str, inputs: list[Tensor], results: list[Tensor]) -> bool:
    """Returns whether this is ``Tensor.to`` with nothing to change, which torch does not skip for a fake tensor."""
    if name != "aten::_to_copy":
        return False
    facts = ({(t.device, t.dtype, t.stride()) for t in tensors} for tensors in (inputs, results))
    return next(facts) == next(facts)


def _waits(name: str, args: Any, kwargs: Any) -> bool:
    """Returns whether the CPU waits for an operator that reads a GPU, or that copies to or from a GPU."""
    if name == "aten::index":
        return any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in args[1])
    if name == "aten::_to_copy":
        target, source = torch.device(kwargs.get("device") or args[0].device).type, args[0].device.type
        target = "cuda" if target == "meta" else target  # fake_gpu.py explains the device "meta"
        return target != source and not (target == "cuda" and kwargs.get("non_blocking"))
    return name in _WAITING or (name == "aten::copy_" and args[0].device.type == "cpu")
