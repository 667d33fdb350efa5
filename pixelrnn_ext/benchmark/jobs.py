"""The jobs of a run, the time that they may take, and their results."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from .._sentences import counted
from .peak_memory import MIB
from .problems import FLOOR, Case
from .timing import FEWEST_ROUNDS, Times, percentiles


@dataclass(frozen=True)
class Budget:
    seconds: float  # seconds, fewest and limit are arguments of timing.paired
    fewest: int = FEWEST_ROUNDS
    limit: float = math.inf
    loop_limit: float = math.inf  # a loop as written is skipped if its timing would take more seconds
    total: float = math.inf  # seconds after which no job or measurement of memory begins
    memory: int | None = None  # number of jobs whose peak memory is measured. None for all
    memory_of_all: bool = False  # measures the memory of all providers, not only of ours


SHORT = Budget(seconds=0.5, limit=4.0, loop_limit=6.0, total=40.0)


class Job(NamedTuple):
    case: Case
    threads: int
    providers: Collection[str] | None = None  # names; None for all
    dtype: torch.dtype = torch.float32
    modes: tuple[str, ...] = ("forward+backward",)  # forward+backward comes last

    def __str__(self) -> str:
        return f"{self.case} {str(self.dtype).removeprefix('torch.')}, {counted(self.threads, 'thread')}"

    @property
    def label(self) -> str:
        """The job's name without its dtype."""
        return f"{self.case}, {counted(self.threads, 'thread')}"


def short_jobs(cases: list[Case], threads: int | None = None) -> list[Job]:
    """Returns the jobs of the short table. ``threads`` replaces every case's numbers of threads."""
    return [
        Job(case, count, {case.ours, *case.against, FLOOR})
        for case in cases
        for count in ((threads,) if threads else case.threads)
    ]


@dataclass
class Result:
    """The times, errors and peak memory of each provider for a job in one mode."""

    job: Job
    mode: str
    times: Times
    errors: dict[str, float]  # relative RMS errors; a provider listed here but not in times gave wrong results
    incomparable: Collection[str] = ()  # providers that compute another function than ours
    peak_mib: dict[str, float | None] = field(default_factory=dict)  # None if unknown

    @property
    def is_training_step(self) -> bool:
        """Whether the result is for forward and backward in float32, which the short table shows."""
        return (self.job.dtype, self.mode) == (torch.float32, "forward+backward")

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys([*self.times, *self.errors]))

    def faster(self, other: str) -> float | None:
        """Returns how many times faster our provider is than ``other``."""
        return self.times.ratio(other, self.job.case.ours)

    @property
    def doubt(self) -> str:
        """Why the compared times are unreliable. Empty if they are reliable."""
        return self.times.doubt(self.job.case.ours, *self.job.case.against, FLOOR)

    def values(self, provider: str) -> dict[str, Any]:
        case, dtype, times = self.job.case, self.job.dtype, self.times
        was_timed = provider in times
        p20, median, p80 = (1e3 * t for t in percentiles(times[provider])) if was_timed else [None] * 3
        comparable, peak = provider not in self.incomparable, self.peak_mib.get(provider)
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
            f"share of {FLOOR}": times.ratio(FLOOR, provider) if comparable else None,
            "peak MiB": peak,
            "peak in h maps": None if peak is None else peak / map_mib,
            "max error": self.errors.get(provider),
            "status": "" if was_timed else "mismatch",
            "unreliable": times.doubt(provider),
        }
