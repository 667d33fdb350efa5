"""Runs a network over the rows of images, for samplers and the codec."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .native import NativeRow
from .network import Network, PixelModel
from .row_steps import RowStep, RowSum, run_row_steps
from .steps import Step


def runs_native(backend: str, device: torch.device) -> bool:
    return backend != "reference" and columns.can_run_on(device)


def runner_type(backend: str, device: torch.device) -> type[NativeRow] | type[EagerRow]:
    return NativeRow if runs_native(backend, device) else EagerRow


def run_rows(
    model: PixelModel, network: Network, value_steps: Sequence[Step], row_inputs: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[int]:
    """Runs a network row by row. Yields each row's index when the row is complete.

    Args:
        value_steps: each colour's last step, which reads the logits and writes the value to ``network.input``.
        row_inputs: pairs of buffer and map (N, channels, H, W). Before a row runs, its map row is copied to the buffer.
    """
    steps = [step for colour, value in enumerate(value_steps) for step in (*network.steps(colour), value)]
    runner = runner_type(model.backend, network.rows.device)
    row, mirrored = runner(network.rows, steps), runner(network.rows, network.mirrored_steps())
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
