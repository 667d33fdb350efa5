"""Calls functions outside of torch.compile."""

import sys
from collections.abc import Callable
from typing import TypeVar

import torch

F = TypeVar("F", bound=Callable[..., object])


def outside_dynamo(function: F) -> F:
    """Returns a version of ``function`` that torch.compile leaves uncompiled.

    Does not import Dynamo, torch.compile's tracer.
    """
    return torch.compiler.disable(function) if "torch._dynamo" in sys.modules else function
