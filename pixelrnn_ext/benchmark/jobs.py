"""The jobs of a run, and the time that they may take."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch

from .._sentences import counted
from .problems import FLOOR, Case
from .timing import FEWEST_ROUNDS


@dataclass(frozen=True)
class Budget:
    """The time that the parts of a run may take.

    Attributes:
        seconds, fewest, limit: the arguments of timing.paired.
        loop_limit: the seconds that may go into timing one loop as written.
        total: the seconds after which no other case begins, and no other measurement of memory.
        memory: the number of jobs whose peak memory is measured. None for all.
        memory_of_all: whether it is measured of all providers, not of ours alone.
    """

    seconds: float
    fewest: int = FEWEST_ROUNDS
    limit: float = math.inf
    loop_limit: float = math.inf
    total: float = math.inf
    memory: int | None = None
    memory_of_all: bool = False


SHORT = Budget(seconds=0.5, limit=4.0, loop_limit=6.0, total=40.0)


class Job(NamedTuple):
    case: Case
    threads: int
    providers: Collection[str] | None = None  # None for all
    dtype: torch.dtype = torch.float32
    modes: tuple[str, ...] = ("forward+backward",)  # which comes last

    def __str__(self) -> str:
        return f"{self.case} {str(self.dtype).removeprefix('torch.')}, {counted(self.threads, 'thread')}"

    @property
    def label(self) -> str:
        """The job's name in float32."""
        return f"{self.case}, {counted(self.threads, 'thread')}"


def short_jobs(cases: list[Case], threads: int | None = None) -> list[Job]:
    """Returns the jobs of the short table. ``threads`` replaces the numbers of threads of every case."""
    return [
        Job(case, count, {case.ours, *case.against, FLOOR})
        for case in cases
        for count in ((threads,) if threads else case.threads)
    ]
