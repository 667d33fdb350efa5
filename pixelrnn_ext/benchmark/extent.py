"""How much a run of cases times."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch

from .problems import FLOOR, Case
from .timing import FEWEST_ROUNDS


@dataclass(frozen=True)
class Extent:
    """How long the parts of a run may take.

    Attributes:
        seconds, fewest, limit: timing.paired's.
        loop_limit: seconds that may go into timing one loop as written.
        total: seconds after which no other case begins, and no other measurement of memory.
        memory: whose peak memory is measured: "ours", "all" or "none".
    """

    seconds: float
    fewest: int = FEWEST_ROUNDS
    limit: float = math.inf
    loop_limit: float = math.inf
    total: float = math.inf
    memory: str = "all"
    modes: tuple[str, ...] = ("forward+backward",)
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)


SHORT = Extent(seconds=0.5, limit=4.0, loop_limit=6.0, total=40.0, memory="ours")


class Job(NamedTuple):
    case: Case
    dtype: torch.dtype
    threads: int
    wanted: Collection[str] | None  # the providers; None for all


def short_jobs(cases: list[Case], threads: int | None = None) -> list[Job]:
    """What the short table shows of the cases, with the threads of each or with ``threads``."""
    return [
        Job(case, torch.float32, count, {case.ours, *case.against, FLOOR})
        for case in cases
        for count in ((threads,) if threads else case.threads)
    ]
