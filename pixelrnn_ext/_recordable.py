"""Tensors that record the operations of a model instead of computing them.

incremental/recording.py records a model, and sampling runs the recorded operations pixel by pixel.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

P = ParamSpec("P")


class Recorder(Protocol):
    device: torch.device
    dtype: torch.dtype

    def record(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Recorded": ...


class Recorded(Tensor):
    """A tensor without values. Torch's functions and methods on it are recorded instead of computed.

    ``value`` is the recorded operation whose result the tensor is. The device and the dtype can be read, but not the
    shape.
    """

    recorder: Recorder
    value: Any

    @staticmethod
    def create(recorder: Recorder, value: Any) -> "Recorded":
        recorded = Tensor._make_subclass(Recorded, torch.empty(0, device="meta"))
        recorded.recorder, recorded.value = recorder, value
        return recorded

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recorders = {id(a.recorder): a.recorder for a in tree_leaves((args, kwargs)) if isinstance(a, Recorded)}
        if len(recorders) != 1 or torch.compiler.is_dynamo_compiling():
            raise TypeError("expected values of one recording that is not compiled")
        recorder = next(iter(recorders.values()))
        name = op_name(func)
        is_cuda = recorder.device.type == "cuda"
        properties: dict[str, Any] = {"device": recorder.device, "dtype": recorder.dtype, "is_cuda": is_cuda}
        properties |= {"requires_grad": False, "is_leaf": True, "grad_fn": None}
        properties |= dict.fromkeys(("__repr__", "__format__"), "a recorded value")
        if name in properties:
            return properties[name]
        return recorder.record(func, args, kwargs)

    def set_(self, *args: Any, **kwargs: Any) -> Any:
        """Raises TypeError, because torch does not call ``__torch_function__`` for ``set_``, so no call is recorded."""
        raise TypeError("it changes the memory of a map")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Recorded":
        """Lets a module be deep-copied although a hook stored a recorded tensor in it."""
        return self

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the parts that ``torch.chunk`` makes, for an assignment such as ``a, b = map.chunk(2, 1)``.

        Raises TypeError for the result of another call, because a recorded tensor has no shape.
        """
        if op_name(self.value.function) != "chunk":
            raise TypeError("it reads how many parts a value has")
        return (self[i] for i in range(self.value.kwargs.get("chunks") or self.value.args[1]))


def op_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", str(function))
    return function.__self__.__name__ if name == "__get__" else name  # type: ignore[attr-defined]


def recordable(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Decorates a layer's function, so that a call with a :class:`Recorded` input is recorded as one operation.

    The recorded operation has ``input`` as a positional argument, and all other arguments as keyword arguments.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def run_or_record(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        input = args[0] if args else kwargs.get("input")
        if not isinstance(input, Recorded):
            return function(*args, **kwargs)
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        options = {name: value for name, value in call.arguments.items() if name != "input"}
        if options.pop("sizes", None) is not None:
            raise TypeError("it gives a layer sizes")
        return input.recorder.record(run_or_record, (input,), options)

    return run_or_record
