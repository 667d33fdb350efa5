"""Runs a network over the rows of images, for samplers and the codec."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .gpu import GpuRow
from .native import NativeRow
from .network import Network, pixel_steps
from .row_steps import RowStep, RowSum, run_row_steps
from .rows import Rows
from .steps import Step

Runner: TypeAlias = NativeRow | EagerRow
Runners: TypeAlias = tuple[Runner, Runner]


def why_not_native(backend: str, device: torch.device, capability: int | None = None) -> str | None:
    """Returns one sentence why no compiled kernels run steps, or None if they do. rows.py describes ``capability``."""
    if backend == "reference":
        return "expected another backend than 'reference'"
    return columns.why_not_on(device, capability)


def make_runner(backend: str, rows: Rows, steps: list[Step]) -> Runner:
    """Returns an object whose method ``run`` runs ``steps`` at each column of a row.

    Compiled kernels run the steps, if there are kernels for the device and ``backend`` is not "reference". Otherwise
    PyTorch runs them.
    """
    if why_not_native(backend, rows.device, rows.capability):
        return EagerRow(rows, steps)
    if rows.capability is None:
        return NativeRow(rows, steps)
    gpu_row = GpuRow(rows, steps)
    return gpu_row if gpu_row.why_not is None else EagerRow(rows, steps, gpu_row.why_not)


def make_runners(backend: str, network: Network, value_steps: Sequence[Step]) -> Runners:
    """Returns the runners of a network's steps and of its mirrored steps.

    ``value_steps`` has the last step of each colour, which reads the logits and writes the value to ``network.input``.
    """
    both = pixel_steps(network, value_steps), network.mirrored_steps()
    row, mirrored = (make_runner(backend, network.rows, steps) for steps in both)
    return row, mirrored


def run_rows(network: Network, runners: Runners, row_inputs: Sequence[tuple[Tensor, Tensor]]) -> Iterator[int]:
    """Runs a network row by row. Yields the index of each row after the row is complete.

    ``row_inputs`` are pairs of a buffer and a map (N, channels, H, W). Before a row is computed, this row of each map
    is copied to the buffer.
    """
    row, mirrored = runners
    inputs: list[RowStep] = [RowSum(network.rows.within(buffer), map=map) for buffer, map in row_inputs]
    height = row_inputs[0][1].shape[2]
    for r in range(height):
        run_row_steps(inputs, r)
        network.begin_row(r)
        row.run()
        yield r
        if r + 1 < height:
            network.end_row(r)
            mirrored.run()
