"""Calls functions outside of torch.compile."""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable[..., object])


def outside_dynamo(function: F) -> F:
    """Returns a function that runs uncompiled, on real tensors, even in a compiled caller. Does not import Dynamo."""
    return torch.compiler.disable(function) if "torch._dynamo" in sys.modules else function
