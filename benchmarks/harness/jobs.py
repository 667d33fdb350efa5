"""The jobs of a benchmark of the layers, and the time that they may take, by its scope."""

import argparse

import torch

from pixelrnn_ext.benchmark.jobs import SHORT, Budget, Job, short_jobs
from pixelrnn_ext.benchmark.problems import MODES, Case

from .options import CHECK, DEFAULT, FULL, VERDICT
from .requirements import Target

BUDGETS = {
    DEFAULT: SHORT,
    FULL: Budget(seconds=0.35),
    CHECK: Budget(seconds=0.0, fewest=2, memory="ours"),
    VERDICT: Budget(seconds=2.0, memory="none"),
}


def jobs(cases: list[Case], targets: list[Target], options: argparse.Namespace) -> list[Job]:
    """Returns the jobs of the cases: for a verdict those that the targets name, by default those of the short table."""
    if options.scope == VERDICT:
        wanted: dict[tuple[Case, int], set[str]] = {}
        for target in targets:
            wanted.setdefault((target.case, target.threads), set()).update((target.provider, target.against))
        return [Job(case, threads, names) for (case, threads), names in wanted.items()]
    if options.scope == DEFAULT:
        return short_jobs(cases, options.threads)
    is_full = options.scope == FULL
    return [
        Job(case, threads, dtype=dtype, modes=MODES)
        for case in cases
        for dtype in (torch.float32, *[torch.float64] * is_full)
        for threads in ((options.threads,) if options.threads else (1, 2) if is_full else case.threads)
    ]
