"""Calls functions outside of torch.compile."""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable[..., object])


def outside_dynamo(function: F) -> F:
    """Returns a version of a function that runs uncompiled, on real tensors, even if a compiled function calls it.

    Does not import Dynamo, the tracer of torch.compile.
    """
    return torch.compiler.disable(function) if "torch._dynamo" in sys.modules else function
