"""The jobs of a benchmark run, the limits of its time, and the results."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from .._sentences import counted
from .peak_memory import MIB
from .problems import Case
from .timing import FEWEST_ROUNDS, Times, percentiles


@dataclass(frozen=True)
class Budget:
    # ``seconds``, ``fewest``, ``limit`` and ``warm`` are arguments of timing.paired.
    seconds: float
    fewest: int = FEWEST_ROUNDS
    limit: float = math.inf
    # The most seconds for timing the naive PyTorch loop. A slower loop is skipped.
    loop_limit: float = math.inf
    # Seconds after which no further job or memory measurement begins.
    total: float = math.inf
    # The number of jobs whose peak memory is measured. None means all.
    memory: int | None = None
    # Whether to measure all implementations' memory, not only this package's.
    memory_of_all: bool = False
    warm: bool = False


SHORT = Budget(seconds=0.5, limit=4.0, loop_limit=6.0, total=40.0)


class Job(NamedTuple):
    case: Case
    threads: int
    # The implementations to time. None means all of the case.
    providers: Collection[str] | None = None
    dtype: torch.dtype = torch.float32
    # The modes to time: "forward", "backward" or "forward+backward". The result of the last mode, which is
    # "forward+backward", also gets the peak memory of the implementations.
    modes: tuple[str, ...] = ("forward+backward",)

    def __str__(self) -> str:
        return f"{self.case} {str(self.dtype).removeprefix('torch.')}, {counted(self.threads, 'thread')}"

    @property
    def label(self) -> str:
        return f"{self.case}, {counted(self.threads, 'thread')}"


def short_jobs(cases: list[Case], threads: int | None = None) -> list[Job]:
    return [
        Job(case, count, {case.ours, *case.against})
        for case in cases
        for count in ((threads,) if threads else case.threads)
    ]


# {(dtype, threads): the multiply-adds that the processor does in a second at most}
Peaks = dict[tuple[torch.dtype, int], float]


@dataclass
class Result:
    """Times, errors and peak memory of a job's implementations in one mode, such as "forward+backward"."""

    job: Job
    mode: str
    times: Times
    multiply_adds: int
    dtypes: dict[str, torch.dtype]
    # Relative RMS errors. An implementation whose error is too large is not timed.
    errors: dict[str, float]
    # These implementations compute another function than the rest, such as another cell of an LSTM. The report does not
    # compare their times.
    incomparable: Collection[str] = ()
    peak_mib: dict[str, float | None] = field(default_factory=dict)

    @property
    def is_training_step(self) -> bool:
        """Whether a forward and a backward pass in float32 were timed together, as in a training step.

        The table of ``pixelrnn bench`` shows only such results.
        """
        return (self.job.dtype, self.mode) == (torch.float32, "forward+backward")

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys([*self.times, *self.errors]))

    def faster(self, other: str) -> float | None:
        return self.times.ratio(other, self.job.case.ours)

    @property
    def doubt(self) -> str:
        return self.times.doubt(self.job.case.ours, *self.job.case.against)

    def rate(self, provider: str) -> float | None:
        """Returns the multiply-adds a second, or None if the implementation was not timed or is incomparable."""
        if provider not in self.times or provider in self.incomparable:
            return None
        return self.multiply_adds / self.times.median(provider)

    def share_of_peak(self, provider: str, peaks: Peaks) -> float | None:
        rate, peak = self.rate(provider), peaks.get((self.dtypes.get(provider, self.job.dtype), self.job.threads))
        return rate / peak if rate and peak else None

    def values(self, provider: str, peaks: Peaks) -> dict[str, Any]:
        case, dtype, times = self.job.case, self.job.dtype, self.times
        was_timed = provider in times
        p20, median, p80 = (1e3 * t for t in percentiles(times[provider])) if was_timed else [None] * 3
        comparable, memory, rate = provider not in self.incomparable, self.peak_mib.get(provider), self.rate(provider)
        map_mib = case.size.cells * case.size.hidden * dtype.itemsize / MIB
        return {
            "case": str(case),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": self.job.threads,
            "mode": self.mode,
            "provider": provider,
            "median ms": median,
            "p20 ms": p20,
            "p80 ms": p80,
            f"speed-up over {case.baseline}": times.ratio(case.baseline, provider) if comparable else None,
            "G multiply-adds/s": rate and rate / 1e9,
            "share of peak": self.share_of_peak(provider, peaks),
            "peak MiB": memory,
            "peak in h maps": None if memory is None else memory / map_mib,
            "max error": self.errors.get(provider),
            "status": "" if was_timed else "mismatch",
            "unreliable": times.doubt(provider),
        }
