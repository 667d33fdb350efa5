"""How much a benchmark of benchmarks/ times."""

import argparse
from collections.abc import Collection

import torch

from pixelrnn_ext.benchmark.extent import SHORT, Extent, Job, short_jobs
from pixelrnn_ext.benchmark.problems import MODES, Case

from .target import Target

DEFAULT, FULL, CHECK, VERDICT = "default", "full", "check", "verdict"
EXTENTS = {
    DEFAULT: SHORT,
    FULL: Extent(seconds=0.35, modes=MODES, dtypes=(torch.float32, torch.float64)),
    CHECK: Extent(seconds=0.0, fewest=2, memory="ours", modes=MODES),
    VERDICT: Extent(seconds=2.0, memory="none"),
}


def jobs(cases: list[Case], targets: list[Target], options: argparse.Namespace) -> list[Job]:
    """What to time of the cases: for a verdict what the targets name, by default what a comparison shows."""
    if options.extent == VERDICT:
        wanted: dict[tuple[Case, int], set[str]] = {}
        for target in targets:
            wanted.setdefault((target.case, target.threads), set()).update((target.provider, target.against))
        return [Job(case, torch.float32, threads, names) for (case, threads), names in wanted.items()]
    if options.extent == DEFAULT:
        return short_jobs(cases, options.threads)

    def threads(case: Case) -> Collection[int]:
        return (options.threads,) if options.threads else (1, 2) if options.extent == FULL else case.threads

    return [
        Job(case, dtype, count, None)
        for case in cases
        for dtype in EXTENTS[options.extent].dtypes
        for count in threads(case)
    ]
