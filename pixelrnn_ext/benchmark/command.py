"""The short table, as the command prints it."""

import argparse

from .diagonal import CASES
from .environment import environment
from .extent import SHORT, short_jobs
from .report import short_report
from .run import Benchmark


def bench(options: argparse.Namespace, command: str) -> int:
    """Prints the short table, of the cases that ``--only`` names; the exit status, 1 where a result is wrong."""
    cases = [case for case in CASES if options.only in str(case) and (options.only or case.in_default)]
    if not cases:
        raise ValueError(f"expected --only to be a part of one of {', '.join(map(str, CASES))}, got {options.only!r}")
    benchmark = Benchmark(SHORT)
    benchmark.run(short_jobs(cases, options.threads))
    header = environment(command, (row.threads for row in benchmark.rows))
    print(short_report(benchmark, header, options.markdown), end="")
    return 1 if benchmark.mismatches else 0
