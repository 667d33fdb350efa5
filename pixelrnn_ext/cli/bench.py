import argparse

from ..benchmark.diagonal import CASES
from ..benchmark.jobs import SHORT, short_jobs
from ..benchmark.report import environment, short_report
from ..benchmark.run import Benchmark
from .arguments import positive

SUMMARY = "time the layers on this machine"
EXAMPLES = ("", "--markdown", '--only "B1 32x32 h128" --threads 1')


def run(options: argparse.Namespace, command: str, argv: list[str]) -> int:
    """Times a training step of the diagonal layers and of plain PyTorch. Checks the results. Takes up to a minute."""
    cases = [case for case in CASES if options.only in str(case) and (options.only or case.in_default)]
    if not cases:
        raise ValueError(f"expected --only to be a part of one of {', '.join(map(str, CASES))}, got {options.only!r}")
    benchmark = Benchmark(SHORT)
    benchmark.run(short_jobs(cases, options.threads))
    header = environment(command, (result.job.threads for result in benchmark.results))
    print(short_report(benchmark, header, options.markdown), end="")
    return 1 if benchmark.mismatches else 0


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only the cases with TEXT in their name, also slow ones"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of the CPU, 2 by default")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table, for a bug report")
