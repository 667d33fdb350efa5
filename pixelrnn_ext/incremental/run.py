"""Runs a network over the rows of images, for samplers and the codec."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .native import NativeRow
from .network import Network, PixelModel
from .steps import Step


def runs_native(backend: str, device: torch.device) -> bool:
    return backend != "reference" and columns.runs_on(device)


def runner_of(backend: str, device: torch.device) -> type[NativeRow] | type[EagerRow]:
    return NativeRow if runs_native(backend, device) else EagerRow


def each_row(
    model: PixelModel, network: Network, values: Sequence[Step], filled: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[int]:
    """Runs a network row by row. Yields each row's index when the row is complete.

    Args:
        values: each colour's last step, which reads the logits and writes the value to ``network.input``.
        filled: pairs of a buffer and a map (N, channels, H, W), whose row is copied to the buffer before the row runs.
    """
    steps = [step for colour, value in enumerate(values) for step in (*network.steps(colour), value)]
    runner = runner_of(model.backend, network.rows.device)
    row, mirrored = runner(network.rows, steps), runner(network.rows, network.mirrored_steps())
    height = filled[0][1].shape[2]
    for r in range(height):
        for buffer, map in filled:
            network.rows.fill(buffer, map[:, :, r : r + 1])
        network.begin_row(r)
        row.run()
        yield r
        if r + 1 < height:
            network.end_row(r)
            mirrored.run()
