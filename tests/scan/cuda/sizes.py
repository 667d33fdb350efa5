"""Lists the sizes and number formats of scans for which the CUDA kernels were selected."""

from itertools import product
from typing import NamedTuple

from kernel_costs.kernel_list import FORMATS


class Size(NamedTuple):
    """A forward or backward pass of a scan on a GPU of compute capability ``capability``, with its sizes.

    If ``size`` is one number, the images are square.
    """

    capability: int
    format: str
    backward: bool
    hidden: int
    taps: int
    size: int | tuple[int, int]
    images: int
    directions: int
    gates: int = 4

    def problem(self, core):
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        geometry = (core.Geometry.diagonal if self.taps == 2 else core.Geometry.row)(height, width)
        sizes = geometry.lines, geometry.cells, self.images, self.directions, self.gates
        return core.Problem(core.Format[self.format], self.backward, self.hidden, self.taps, *sizes)

    def plan(self, core, **restriction):
        return core.plan(self.problem(core), core.known_device(self.capability), core.Restriction(**restriction))


# (neighbours of a cell, directions, gates) of a Row LSTM, a Diagonal BiLSTM, and LSTM2d in one to four directions.
LAYERS = (3, 1, 4), (2, 2, 4), (2, 1, 5), (2, 2, 5), (2, 3, 5), (2, 4, 5)
SIZES = [
    Size(capability, format, backward, hidden, taps, size, images, directions, gates)
    for capability, format, backward, hidden, (taps, directions, gates), size, images in product(
        (80, 90, 100, 120), FORMATS, (False, True), (16, 32, 64, 128), LAYERS, (28, 32, 64), (1, 16, 64, 256)
    )
]
