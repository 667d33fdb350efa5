"""How much a run of the cases times."""

import argparse
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import torch

from .problems import FLOOR, MODES, Case, Target
from .timing import FEWEST_ROUNDS


@dataclass(frozen=True)
class Extent:
    """``seconds``, ``fewest`` and ``limit`` are timing.paired's."""

    seconds: float
    fewest: int = FEWEST_ROUNDS
    limit: float = math.inf
    modes: tuple[str, ...] = ("forward+backward",)
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)


DEFAULT, FULL, CHECK, VERDICT = "default", "full", "check", "verdict"
EXTENTS = {
    DEFAULT: Extent(seconds=0.5, limit=4.0),
    FULL: Extent(seconds=0.35, modes=MODES, dtypes=(torch.float32, torch.float64)),
    CHECK: Extent(seconds=0.0, fewest=2, modes=MODES),
    VERDICT: Extent(seconds=2.0),
}


class Job(NamedTuple):
    case: Case
    dtype: torch.dtype
    threads: int
    wanted: Collection[str] | None  # the providers; None for all


def jobs(cases: list[Case], targets: list[Target], options: argparse.Namespace) -> list[Job]:
    """What to time of the cases: for a verdict what the targets name, by default what a comparison shows."""
    if options.extent == VERDICT:
        wanted: dict[tuple[Case, int], set[str]] = {}
        for target in targets:
            wanted.setdefault((target.case, target.threads), set()).update((target.provider, target.against))
        return [Job(case, torch.float32, threads, names) for (case, threads), names in wanted.items()]

    def threads(case):
        return (options.threads,) if options.threads else (1, 2) if options.extent == FULL else case.threads

    return [
        Job(case, dtype, count, {case.ours, *case.against, FLOOR} if options.extent == DEFAULT else None)
        for case in cases
        for dtype in EXTENTS[options.extent].dtypes
        for count in threads(case)
    ]
