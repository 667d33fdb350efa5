"""Runs a network over the rows of images, for samplers and the codec."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .gpu import GpuRow
from .native import NativeRow
from .network import Network, PixelModel, pixel_steps
from .row_steps import RowStep, RowSum, run_row_steps
from .rows import Rows
from .steps import Step


def runs_native(backend: str, device: torch.device) -> bool:
    return backend != "reference" and columns.why_not_on(device) is None


def make_runner(backend: str, rows: Rows, steps: list[Step]) -> NativeRow | EagerRow:
    """Returns an object whose method ``run`` runs ``steps`` at each column of a row.

    Compiled kernels run the steps, if there are kernels for the device and ``backend`` is not "reference". Otherwise
    PyTorch runs them.
    """
    if not runs_native(backend, rows.device):
        return EagerRow(rows, steps)
    if not columns.is_gpu(rows.device):
        return NativeRow(rows, steps)
    gpu_row = GpuRow(rows, steps)
    return gpu_row if gpu_row.why_not is None else EagerRow(rows, steps)


def run_rows(
    model: PixelModel, network: Network, value_steps: Sequence[Step], row_inputs: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[int]:
    """Runs a network row by row. Yields the index of each row after the row is complete.

    Args:
        value_steps: the last step of each colour, which reads the logits and writes the value to ``network.input``.
        row_inputs: pairs of buffer and map (N, channels, H, W). Each row first copies its row of the map to the buffer.
    """
    both = pixel_steps(network, value_steps), network.mirrored_steps()
    row, mirrored = (make_runner(model.backend, network.rows, steps) for steps in both)
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
