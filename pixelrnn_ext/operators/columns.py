"""The operator of sampling: all steps of an image row in one call of the compiled library
(csrc/operators/columns.cpp)."""

import torch
from torch import Tensor

from .library import why_no_native


def runs_on(device: torch.device) -> bool:
    return device.type == "cpu" and why_no_native() is None


def run_columns(tensors: list[Tensor], code: list[int], margin: int, temperature: float) -> None:
    """Runs a program at every column behind the margin; it is a list of integers, which index the tensors."""
    torch.ops.pixelrnn_ext.run_columns(tensors, code, margin, temperature)
