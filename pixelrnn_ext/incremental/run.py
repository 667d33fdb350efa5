"""A network from row to row: what samplers and the codec have in common."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .native import NativeRow
from .network import Network, PixelModel
from .steps import Step


def runs_native(backend: str, device: torch.device) -> bool:
    """Whether the compiled steps run a model with this backend."""
    return backend != "reference" and columns.runs_on(device)


def runner_of(backend: str, device: torch.device) -> type[NativeRow] | type[EagerRow]:
    return NativeRow if runs_native(backend, device) else EagerRow


def each_row(
    model: PixelModel, network: Network, values: Sequence[Step], given: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[int]:
    """Runs the rows of images, and gives each one's number when its buffers are complete.

    Args:
        model: the one that ``network`` is of.
        values: the last step of each colour, which needs its logits and leaves its value in ``network.input``.
        given: buffers, and the maps (N, channels, H, W) of which each gets a row before that is run.
    """
    steps = [step for colour, value in enumerate(values) for step in (*network.steps(colour), value)]
    runner = runner_of(model.backend, network.rows.device)
    row, mirrored = runner(network.rows, steps), runner(network.rows, network.mirrored_steps())
    height = given[0][1].shape[2]
    for r in range(height):
        for buffer, map in given:
            network.rows.fill(buffer, map[:, :, r : r + 1])
        network.begin_row(r)
        row.run()
        yield r
        if r + 1 < height:
            network.end_row(r)
            mirrored.run()
