"""Keeps torch.compile out of functions that a compiler cannot use."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def never_compiled(function: F) -> F:
    """Makes torch.compile call ``function`` as it is, instead of tracing it for minutes.

    ``torch.compiler.disable`` alone would import Dynamo, torch.compile's tracer, with this package.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        torch._dynamo.decorators.skip(call)  # Dynamo traces only the first frame of this code
        return torch.compiler.disable(function)(*args, **kwargs)

    # Where compiled code calls the function, Dynamo reads these attributes and ends the graph.
    marked: Any = call
    marked._torchdynamo_disable = True
    marked._torchdynamo_disable_msg = f"{function.__qualname__} of pixelrnn_ext cannot be compiled"
    return marked
