"""What benchmarks/gpu_day.py measures: every case in every precision that it is timed in, the most important first."""

from typing import NamedTuple

from floors import FLOORS

SMALL = [name for name, case in FLOORS.items() if case.required]
LARGE = [name for name, case in FLOORS.items() if not case.required]
LIKE_LSTM = [f"RowLSTM layer k=1 {size}" for size in ("B16 28x28 h16", "B16 28x28 h64", "B16 32x32 h128")]
LAYERS = [f"DiagonalBiLSTM layer {size}" for size in ("B16 28x28 h16", "B16 32x32 h128")]


class Job(NamedTuple):
    """One case in one precision, all its providers side by side; or the loop and torch.compile of it alone."""

    case: str
    precision: str
    seconds: float = 12.0  # it is given twice as long, and not begun in less
    compiled: bool = False

    def __str__(self):
        return f"{self.case} {self.precision}{', compiled' * self.compiled}"


SMALL_JOBS = [
    *(Job(case, precision) for precision in ("fp32", "bf16") for case in SMALL),
    *(Job(case, precision) for precision in ("fp32", "bf16") for case in LIKE_LSTM),
    *(Job(case, precision) for precision in ("fp32", "bf16") for case in LAYERS),
    *(Job(case, precision) for precision in ("tf32", "fp16") for case in SMALL),
]
LARGE_JOBS = [
    *(Job(case, precision, 20.0) for precision in ("bf16", "fp32") for case in LARGE),
    Job("row k=3 B16 28x28 h16", "fp32", 60.0, compiled=True),
    Job("diagonal B16 28x28 h16", "fp32", 90.0, compiled=True),
]
JOBS = SMALL_JOBS + LARGE_JOBS
