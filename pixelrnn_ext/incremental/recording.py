"""Records which operations a model's ``forward`` computes between the scaled images and the logits.

The model is called with tensors that record operations (_recordable.py). Modules, hooks and parametrisations run as in
any call. torch.fx is not used, because its tracer replaces methods of torch.nn.Module for all threads.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from .. import functional
from .._recordable import Recorded, op_name
from .._sentences import reason
from .wrappers import check_unsharded, plain_name, uncompiled

LAYERS = (functional.masked_conv2d, functional.row_lstm, functional.diagonal_bilstm)
# Functions and methods whose result is always a new tensor.
_ALLOCATING = {"add", "relu", "conv2d", "conv_transpose2d"}
_READS_VALUES = {"__bool__", "__float__", "__int__", "__index__", "__len__", "__array__", "item", "tolist"}
_MODEL_DTYPE = type("ModelDtype", (), {})()  # stands for the model's dtype in recorded arguments
_EXPECTED = "expected a network of masked layers, ReLUs and sums"
_CALL = nn.Module._call_impl.__code__


@dataclass(eq=False, repr=False)
class Operation:
    """A recorded call of a function or method.

    An argument that is itself an Operation stands for the result of that other call.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: str
    inputs: list["Operation"] = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = [a for a in tree_leaves((self.args, self.kwargs)) if isinstance(a, Operation)]

    def __str__(self) -> str:
        return f"{op_name(self.function)} in {self.module}"

    @property
    def is_layer(self) -> bool:
        return self.function in LAYERS

    @property
    def is_relu(self) -> bool:
        return op_name(self.function) == "relu" and len(self.args) == 1

    @property
    def is_sum(self) -> bool:
        return op_name(self.function) == "add" and len(self.args) == 2 and not self.kwargs

    def unsupported(self) -> TypeError:
        return TypeError(f"{_EXPECTED}, got {self}")

    def compute(self, values: dict["Operation", Any], dtype: torch.dtype) -> Any:
        """Runs the recorded call with all parameters cast to ``dtype``, and returns the result.

        ``values`` has the result of each Operation among the arguments.
        """

        def parameter(tensor: Tensor) -> Tensor:
            return tensor.detach().to(dtype) if tensor.is_floating_point() else tensor

        arguments = tree_map_only(Tensor, parameter, (self.args, self.kwargs))
        arguments = tree_map_only(type(_MODEL_DTYPE), lambda _: dtype, arguments)
        args, kwargs = tree_map_only(Operation, values.__getitem__, arguments)
        # The recorded method is Tensor.__getitem__, but the indexed value may be a tuple, such as the result of
        # torch.chunk.
        if op_name(self.function) == "__getitem__":
            return args[0][args[1]]
        return self.function(*args, **kwargs)


class Recording(NamedTuple):
    """The operations on which the logits depend, in order. They do not include ``input`` and ``condition``.

    ``input`` stands for the scaled images. ``output`` is the operation whose result has the logits as its channels.
    ``image_dependent`` holds ``input`` and all operations that depend on it.
    """

    operations: list[Operation]
    input: Operation
    condition: Operation | None
    output: Operation
    image_dependent: set[Operation]

    def layers(self) -> list[Operation]:
        return [operation for operation in self.operations if operation.is_layer and operation in self.image_dependent]

    def arguments(self) -> list[Any]:
        return tree_leaves([(o.args, o.kwargs) for o in self.operations])

    def last_uses(self) -> dict[Operation, list[Operation]]:
        """Returns, for each operation, those of its inputs that no later operation reads."""
        reader = {read: operation for operation in self.operations for read in operation.inputs}
        return {o: [read for read in dict.fromkeys(o.inputs) if reader[read] is o] for o in self.operations}


class _Recorder:
    def __init__(self, model: nn.Module) -> None:
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.operations: list[Operation] = []
        self._names = {module: plain_name(name) for name, module in model.named_modules()}

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recorded:
        if op_name(function) in _READS_VALUES:
            raise TypeError("it reads the values of a map")
        args, kwargs = tree_map_only(Recorded, lambda recorded: recorded.value, (args, kwargs))
        args, kwargs = tree_map_only(torch.dtype, lambda d: _MODEL_DTYPE if d == self.dtype else d, (args, kwargs))
        operation = Operation(function, args, kwargs, self.module_of(sys._getframe()))
        self.operations.append(operation)
        return Recorded.create(self, operation)

    def module_of(self, frame: FrameType | None) -> str:
        """Returns the name of the innermost module whose call is on the stack of ``frame``."""
        while frame and frame.f_code is not _CALL:
            frame = frame.f_back
        if frame is None:
            return "the model"
        module = frame.f_locals["self"]
        name, kind = self._names.get(module), type(module).__name__
        return f"{name} ({kind})" if name else kind


# The functions _images, _condition, _scaled and _logits compute nothing. A recorded call of one of them stands for the
# images, the condition, the scaled images or the logits.
def _images() -> None: ...
def _condition() -> None: ...
def _scaled(images: Tensor) -> None: ...
def _logits(map: Tensor, images: Tensor | None = None, condition: Tensor | None = None) -> None: ...


def record_scaled(images: Recorded) -> Tensor:
    return images.recorder.record(_scaled, (images,), {})


def record_logits(map: Recorded) -> Tensor:
    return map.recorder.record(_logits, (map,), {})


def record_multi_scale(images: Recorded, condition: Tensor | None) -> Tensor:
    """Records the arguments that a multi-scale model gets, so that :func:`check_hooks` can compare them."""
    return images.recorder.record(_logits, (images, images, condition), {})


def record(model: nn.Module, conditional: bool) -> Recording:
    """Records the network of a PixelRNN or PixelCNN.

    Raises TypeError if the network has more than layers, ReLUs and sums. Also raises it if an operation changes a value
    in place that a later operation reads.
    """
    operations, images, condition, logits = _call(model, conditional)
    _remove_in_place(operations)
    output = logits.args[0]
    needed = {output}
    for operation in reversed(operations):
        if operation in needed:
            needed.update(operation.inputs)
    input = next((o for o in operations if o in needed and o.function is _scaled), None)
    casts = set() if input is None else _casts(input, images)
    if input is None or images not in casts or casts & {read for o in needed - casts - {input} for read in o.inputs}:
        raise TypeError(f"expected a {type(model).__name__} that reads its images unchanged, got another network")
    needed -= {*casts, input, condition}
    image_dependent = {input}
    operations = [operation for operation in operations if operation in needed]
    for operation in operations:
        if not image_dependent.isdisjoint(operation.inputs):
            if not (operation.is_layer or operation.is_relu or operation.is_sum):
                raise operation.unsupported()
            image_dependent.add(operation)
    return Recording(operations, input, condition, output, image_dependent)


def _casts(input: Operation, images: Operation) -> set[Operation]:
    """Returns the operation of the images, and the operations that only cast them before the model scales them."""
    found = {input.args[0]}
    while (cast := input.args[0]) is not images and op_name(cast.function) in ("to", "long", "int", "contiguous"):
        input = cast
        found.add(input.args[0])
    return found


def check_hooks(model: nn.Module, conditional: bool) -> None:
    """Raises TypeError if a hook changes the images, the condition or the logits of a multi-scale model."""
    _, images, condition, logits = _call(model, conditional)
    if logits.args != (images, images, condition):
        raise TypeError(f"expected no hook that changes what {type(model).__name__} is called with, got one")


_Call = tuple[list[Operation], Operation, Operation | None, Operation]


@torch.no_grad()
def _call(model: nn.Module, conditional: bool) -> _Call:
    """Returns all recorded operations, and those that stand for images, condition and logits."""
    check_unsharded(model)
    model = uncompiled(model)
    recorder = _Recorder(model)
    images = recorder.record(_images, (), {})
    condition = recorder.record(_condition, (), {}) if conditional else None
    saved = [(owner, dict(owner)) for module in model.modules() for owner in (vars(module), module._buffers)]
    try:
        logits = model(images, condition)
    except Exception as error:
        where = recorder.module_of(_innermost_call(error.__traceback__))
        raise TypeError(f"{_EXPECTED}, got another computation in {where}: {reason(error)}") from error
    finally:
        _restore(saved)
    if not isinstance(logits, Recorded) or logits.value.function is not _logits:
        got = logits.value if isinstance(logits, Recorded) else type(logits).__name__
        raise TypeError(f"expected a {type(model).__name__} that returns what its logit_map gives, got {got}")
    return recorder.operations, images.value, None if condition is None else condition.value, logits.value


def _restore(saved: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Removes the recording tensors that hooks stored in modules. Restores the values that were there before."""
    for owner, before in saved:
        for name in [name for name, value in owner.items() if isinstance(value, Recorded)]:
            if name in before:
                owner[name] = before[name]
            else:
                del owner[name]


def _innermost_call(traceback: TracebackType | None) -> FrameType | None:
    found = None
    while traceback:
        if traceback.tb_frame.f_code is _CALL:
            found = traceback.tb_frame
        traceback = traceback.tb_next
    return found


def _remove_in_place(operations: list[Operation]) -> None:
    """Replaces in-place sums and ReLUs by operations that return a new tensor.

    Raises TypeError for other in-place operations, and if a later operation reads the operand, which would have
    changed.
    """
    read_later: set[Operation] = set()
    aliased = {read for operation in operations if not _allocates(operation) for read in operation.inputs}
    for operation in reversed(operations):
        if _is_in_place(operation):
            kind, changed = op_name(operation.function).rstrip("_"), next(iter(operation.args), None)
            allowed = kind in ("add", "relu") and _allocates(changed) and changed not in read_later
            if not allowed or changed in aliased or "out" in operation.kwargs:
                raise TypeError(f"expected a network that changes no value in place, got {operation}")
            if kind == "relu":
                operation.function, operation.args, operation.kwargs = F.relu, operation.args[:1], {}
            else:
                operation.function = torch.add
        read_later.update(operation.inputs)


def _is_in_place(operation: Operation) -> bool:
    if isinstance(operation.function, torch._ops.OpOverload):
        return operation.function._schema.is_mutable
    name = op_name(operation.function)
    if operation.kwargs.get("inplace") or "out" in operation.kwargs or name in ("__set__", "__setitem__"):
        return True
    return name.endswith("_") and not name.endswith("__")


def _allocates(value: Any) -> bool:
    return isinstance(value, Operation) and (value.is_layer or op_name(value.function).rstrip("_") in _ALLOCATING)
