"""The benchmarks of a GPU day (all that needs a GPU) as jobs, the most important first.

A job has a name, a time in ``seconds``, and ``measure(known, report)``, which runs in a child process (child.py).
``measure`` skips the providers (implementations) in ``known``. It calls ``report(provider, status, note="", **facts)``
with "running" before a provider's first call, and with each result. Only ``measure`` imports the package, which may not
be built yet.
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
    """One case in one precision, with all providers, or if ``compiled``, only with the loop and the compiled loop."""

    case: str
    precision: str
    seconds: float = 12.0  # the job begins only if so much time is left, and may take twice as long
    compiled: bool = False

    def __str__(self):
        return f"{self.case} {self.precision}{', compiled' * self.compiled}"

    def measure(self, known: set[str], report: Report) -> None:
        from .measure import measure

        measure(self, known, report)


class ScanJob(NamedTuple):
    """Times a Diagonal (Bi)LSTM's scan: its operators, or every layout (kernel, blocks, groups) of a pass."""

    size: tuple[int, int, int, int]  # batch, height, width, hidden
    directions: int
    precision: str
    backward: bool | None = None  # the pass of the layouts; None: all operators
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


MAPS = [(28, 28, 16), (28, 28, 64), (32, 32, 128)]
# The jobs of each part of a GPU day. A batch of 256 in two directions fills the GPU. Papers use 16 in one direction.
JOBS = {
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
