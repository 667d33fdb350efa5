"""A network from row to row: what samplers and the codec have in common."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..operators import columns
from .eager import EagerRow
from .native import NativeRow
from .network import PixelModel
from .rows import Rows
from .steps import Step


def runner_of(backend: str, device: torch.device) -> type[NativeRow] | type[EagerRow]:
    """What runs the steps of a model with this backend."""
    return NativeRow if backend != "reference" and columns.runs_on(device) else EagerRow


class Network(Protocol):
    """A :class:`.network.RowNetwork`, or what gives a row's logits in another way."""

    rows: Rows
    input: Tensor
    output: Tensor

    def begin_row(self, row: int) -> None: ...

    def steps(self, colour: int) -> list[Step]: ...

    def end_row(self, row: int) -> None: ...

    def mirrored_steps(self) -> list[Step]: ...


def each_row(
    model: PixelModel, network: Network, values: Sequence[Step], height: int, begin: Callable[[int], None]
) -> Iterator[int]:
    """Runs the rows of images of ``height``, and gives each one's number when its buffers are complete.

    Args:
        model: the one that ``network`` is of.
        values: the last step of each colour, which needs its logits and leaves its value in ``network.input``.
        begin: called with the number of a row before it is run.
    """
    steps = [step for colour, value in enumerate(values) for step in (*network.steps(colour), value)]
    runner = runner_of(model.backend, network.rows.device)
    row, mirrored = runner(network.rows, steps), runner(network.rows, network.mirrored_steps())
    for r in range(height):
        begin(r)
        network.begin_row(r)
        row.run()
        yield r
        if r + 1 < height:
            network.end_row(r)
            mirrored.run()
