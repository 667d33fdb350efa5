"""Lists the sizes and number formats of scans for which the CUDA kernels were selected."""

from itertools import product
from typing import NamedTuple

from helpers.kernels import FORMATS


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

DOCUMENTED = {
    "MNIST h16, forward": Size(90, "bf16", False, 16, 2, 28, 16, 2),
    "MNIST h16, forward in tf32": Size(90, "tf32", False, 16, 2, 28, 16, 2),
    "MNIST h16, forward of 256 images": Size(90, "bf16", False, 16, 2, 28, 256, 2),
    "MNIST h16, backward": Size(90, "bf16", True, 16, 2, 28, 16, 2),
    "MNIST h16, backward in fp32": Size(90, "fp32", True, 16, 2, 28, 16, 2),
    "28x28 h64, forward of one image": Size(90, "bf16", False, 64, 2, 28, 1, 2),
    "28x28 h64, backward": Size(90, "bf16", True, 64, 2, 28, 16, 2),
    "CIFAR h128, forward of one image": Size(90, "bf16", False, 128, 2, 32, 1, 2),
    "CIFAR h128, forward of one image in tf32": Size(90, "tf32", False, 128, 2, 32, 1, 2),
    "CIFAR h128, forward": Size(90, "bf16", False, 128, 2, 32, 16, 2),
    "CIFAR h128, forward of 256 images": Size(90, "bf16", False, 128, 2, 32, 256, 2),
    "CIFAR h128, forward of 256 images in fp32": Size(90, "fp32", False, 128, 2, 32, 256, 2),
    "CIFAR h128, backward of one image": Size(90, "bf16", True, 128, 2, 32, 1, 2),
    "CIFAR h128, backward in fp32": Size(90, "fp32", True, 128, 2, 32, 16, 2),
    "CIFAR h128, backward of 256 images": Size(90, "bf16", True, 128, 2, 32, 256, 2),
    "Row LSTM h128, forward": Size(90, "bf16", False, 128, 3, 32, 16, 1),
    "64x64 h128, forward": Size(90, "bf16", False, 128, 2, 64, 16, 2),
    "h256, backward": Size(90, "bf16", True, 256, 2, 32, 16, 2),
    "h256, forward in tf32": Size(90, "tf32", False, 256, 2, 32, 16, 2),
    "LSTM2d h32, forward": Size(90, "bf16", False, 32, 2, 32, 16, 4, 5),
    "LSTM2d h32, backward": Size(90, "bf16", True, 32, 2, 32, 16, 4, 5),
    "A100, MNIST h16": Size(80, "bf16", False, 16, 2, 28, 16, 2),
    "A100, CIFAR h128, forward": Size(80, "bf16", False, 128, 2, 32, 16, 2),
    "A100, CIFAR h128, backward": Size(80, "bf16", True, 128, 2, 32, 16, 2),
    "A100, 64x64 h128, backward": Size(80, "bf16", True, 128, 2, 64, 16, 2),
    "RTX 3090, h32": Size(86, "fp16", False, 32, 2, 32, 16, 2),
    "B200, CIFAR h128": Size(100, "bf16", False, 128, 2, 32, 16, 2),
    "RTX 5090, CIFAR h128, backward in fp32": Size(120, "fp32", True, 128, 2, 32, 16, 2),
    "a hidden size of 20": Size(90, "bf16", False, 20, 2, 28, 16, 2),
    "Turing": Size(75, "bf16", False, 16, 2, 28, 16, 2),
}
