"""The command line of the benchmarks of layers and recurrences."""

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

from pixelrnn_ext.benchmark.problems import Case
from pixelrnn_ext.benchmark.run import Benchmark
from pixelrnn_ext.operators import library

from .environment import environment, use_instruction_set
from .extent import CHECK, DEFAULT, EXTENTS, FULL, VERDICT, jobs
from .report import report
from .target import Target

NOT_DEFAULT = "only with --full"


def parse(description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(extent=DEFAULT)
    extents = parser.add_mutually_exclusive_group()
    for extent, what in (
        (FULL, "all sizes, modes and providers, 1 and 2 threads, float64 too, percentiles: many minutes"),
        (CHECK, "tiny sizes: whether everything runs, in seconds"),
        (VERDICT, "what is required beside what is measured, at full size: minutes"),
    ):
        extents.add_argument(f"--{extent}", action="store_const", dest="extent", const=extent, help=what)
    parser.add_argument("--compile", action="store_true", help="add torch.compile of the good loop: minutes a case")
    parser.add_argument("--only", metavar="TEXT", help="the cases whose name contains it, the default run's or not")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--instruction-set", metavar="NAME", choices=library.instruction_sets(), help="%(choices)s")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="- for the standard output")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="times faster than the baseline, as bars; needs matplotlib"
    )
    options = parser.parse_args(argv)
    if options.compile and options.extent == VERDICT:
        parser.error("--verdict requires nothing of --compile")
    if options.threads is not None and options.threads < 1:
        parser.error(f"argument --threads: expected at least 1, got {options.threads}")
    for path in filter(None, (options.csv, options.markdown, options.plot)):
        if path.is_dir() or not path.parent.is_dir():
            parser.error(f"cannot write to {path}")
    if options.plot:
        if importlib.util.find_spec("matplotlib") is None:
            parser.exit(2, "--plot needs matplotlib: pip install matplotlib\n")
        from matplotlib.backend_bases import FigureCanvasBase

        known = FigureCanvasBase.get_supported_filetypes()
        if options.plot.suffix[1:] not in known:
            parser.error(f"argument --plot: expected one of the endings {', '.join(known)}, got {options.plot}")
    return options


def main(script: str, description: str, cases: list[Case], targets: list[Target], argv: list[str] | None = None) -> int:
    """Runs a benchmark from its command line; 1 if a provider gave wrong numbers."""
    argv = sys.argv[1:] if argv is None else argv
    options = parse(description, argv)
    if instruction_set := options.instruction_set or library.instruction_set():
        use_instruction_set(instruction_set)
    if options.extent == CHECK:
        cases = list({case.kind: replace(case, size=case.size.tiny()) for case in cases}.values())
    if options.only:
        cases = [case for case in cases if options.only in str(case)]
        if not cases:
            print(f"{Path(script).name}: no case has {options.only!r} in its name", file=sys.stderr)
            return 2
    targets = [t for t in targets if t.case in cases and options.threads in (None, t.threads)]
    if options.extent == VERDICT and not targets:
        print(f"{Path(script).name}: nothing is required of these cases and numbers of threads", file=sys.stderr)
        return 2

    benchmark = Benchmark(EXTENTS[options.extent], options.compile, otherwise=" without --full")
    if options.extent == DEFAULT and not options.only:
        benchmark.skip(NOT_DEFAULT, *(str(case) for case in cases if not case.in_default))
        cases = [case for case in cases if case.in_default]
    benchmark.run(jobs(cases, targets, options))
    if options.extent == DEFAULT:
        benchmark.skip(NOT_DEFAULT, "percentiles, forward and backward alone, other providers, float64, other threads")

    report(benchmark, targets, environment(script, argv, (row.threads for row in benchmark.rows)), options)
    return 1 if benchmark.mismatches else 0
