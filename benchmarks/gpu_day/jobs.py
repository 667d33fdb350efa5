"""Defines the jobs that measure benchmarks on a GPU, with the most important job first.

The method ``measure`` of a job skips the providers (implementations) in ``known``. For each other provider, the method
reports the status "running" and later the results. Only ``measure`` imports pixelrnn_ext, because the package may not
be built yet when this module is imported.
"""

from collections.abc import Callable
from typing import NamedTuple

from .floors import FLOORS

Report = Callable[..., None]
SMALL = [name for name, case in FLOORS.items() if case.required]
LARGE = [name for name, case in FLOORS.items() if not case.required]
LIKE_LSTM = [f"RowLSTM layer k=1 {size}" for size in ("B16 28x28 h16", "B16 28x28 h64", "B16 32x32 h128")]
LAYERS = [f"DiagonalBiLSTM layer {size}" for size in ("B16 28x28 h16", "B16 32x32 h128")]
LSTM2D = [
    f"LSTM2d, {directions}{images}"
    for images in (" B16 28x28 h64", ", ragged B16 16x200 h32")
    for directions in ("1 direction", "4 directions")
]


class Job(NamedTuple):
    """Measures the implementations of one benchmark case.

    If ``compiled`` is true, the job measures only the implementation that is a plain loop in PyTorch, with and without
    torch.compile.
    """

    case: str
    precision: str
    seconds: float = 12.0  # the job starts only if this time is left, and may take twice as long
    compiled: bool = False

    def __str__(self):
        return f"{self.case} {self.precision}{', compiled' * self.compiled}"

    def measure(self, known: set[str], report: Report) -> None:
        from .measure import measure

        measure(self, known, report)


class ScanJob(NamedTuple):
    """Measures the time of a scan of a Diagonal LSTM or Diagonal BiLSTM.

    A job measures either every layout of the scan (kernel, blocks, groups of warps), or each operator of the scan.
    """

    size: tuple[int, int, int, int]  # batch, height, width, hidden
    directions: int
    precision: str
    # The value of `backward` says what the job measures. None stands for each operator of the scan, False for every
    # layout of the forward scan, and True for every layout of the backward scan.
    backward: bool | None = None
    seconds: float = 5.0

    @property
    def lines(self) -> int:
        return self.size[1] + self.size[2] - 1

    @property
    def case(self) -> str:
        batch, height, width, hidden = self.size
        both = ", both directions" * (self.directions == 2)
        one_pass = {None: "", False: ", forward", True: ", backward"}[self.backward]
        return f"diagonal B{batch} {height}x{width} h{hidden}{both}{one_pass}"

    def __str__(self):
        return f"{self.case} {self.precision}"

    def measure(self, known: set[str], report: Report) -> None:
        from .scans import measure_layouts, measure_operators

        work = measure_operators if self.backward is None else measure_layouts
        work(self, known, report)


class ExchangeJob(Job):
    def __str__(self):
        return self.case

    def measure(self, known: set[str], report: Report) -> None:
        from .exchange import measure_exchange

        measure_exchange(known, report)


class SamplingJob(NamedTuple):
    """Measures one property of the sampler.

    ``quantity`` is a key of QUANTITIES in sampling.py. ``case`` is a model, or an operation such as "cell h16", which
    is an LSTM cell with 16 hidden units.
    """

    quantity: str
    case: str
    images: tuple[int, ...]  # numbers of images to draw; 0 is one image for each multiprocessor
    height: int = 28
    width: int = 28
    seconds: float = 20.0
    precision: str = "fp32"

    def __str__(self):
        return f"{self.quantity}, {self.case}"

    def measure(self, known: set[str], report: Report) -> None:
        from . import sampling

        sampling.measure(self, known, report)


MNIST5K = [f"mnist5k-{layer}" for layer in ("diagonal", "row", "pixelcnn")]
CIFAR10 = [f"cifar10-{layer}" for layer in ("row", "diagonal", "pixelcnn")]
MAPS = [(28, 28, 16), (28, 28, 64), (32, 32, 128)]
# Scans of 256 images fill the GPU. Scans of 16 images are usual in papers.
JOBS = {
    "sampling": [
        *(SamplingJob("same images", name, (1, 4, 64, 500)) for name in MNIST5K),
        *(SamplingJob("same images", name, (1, 4), 3, 32) for name in CIFAR10),
        *(SamplingJob("rounds", f"{kind} h{hidden}", (1, 0)) for kind in ("cell", "linear") for hidden in (16, 64)),
        *(SamplingJob("exchanges", f"{kind} h16", (1,)) for kind in ("cell", "linear")),
        SamplingJob("clusters", "linear h16", (1, 8, 14, 16, 17, 32)),
        SamplingJob("weights", "linear h1024", (1, 16)),
        SamplingJob("batches", MNIST5K[0], (1, 16, 132)),
        *(SamplingJob("batches", name, (1, 16), 32, 32, 40.0) for name in CIFAR10),
        SamplingJob("launches", CIFAR10[0], (1, 16), 32, 32),
    ],
    "layouts": [
        ScanJob((batch, *sizes), directions, precision, backward, seconds)
        for precision in ("bf16", "tf32")
        for batch, directions, seconds in ((256, 2, 12.0), (16, 1, 5.0))
        for backward in (False, True)
        for sizes in MAPS
    ],
    "exchange": [ExchangeJob("a line's exchange", "bf16", 15.0)],
    "operators": [
        ScanJob((batch, *sizes), 2, precision)
        for precision in ("bf16", "tf32")
        for batch in (256, 16)
        for sizes in (MAPS[0], MAPS[2])
    ],
    "small": [
        Job(case, precision)
        for cases, precisions in (
            *((cases, ("fp32", "bf16")) for cases in (SMALL, LIKE_LSTM, LAYERS)),
            *((LSTM2D, ("bf16", "fp32")), (SMALL, ("tf32", "fp16"))),
        )
        for precision in precisions
        for case in cases
    ],
    "large": [
        Job("diagonal B256 32x32 h128", "bf16", 20.0),
        *(Job(case, precision, 20.0) for precision in ("bf16", "fp32") for case in LARGE),
        Job("row k=3 B16 28x28 h16", "fp32", 60.0, compiled=True),
        Job("diagonal B16 28x28 h16", "fp32", 90.0, compiled=True),
    ],
}
BENCHMARKS = JOBS["small"] + JOBS["large"]
