"""The command line of the benchmarks of layers and recurrences."""

import argparse
import importlib.util
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

from .benchmark import Benchmark
from .environment import environment, use_instruction_set
from .problems import NATIVE, Case, Target
from .report import report

DEFAULT_LIMIT = 40.0  # seconds after which a default run starts no other case, and no other measurement of memory


def parse(description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--full", action="store_true", help="all sizes, 1 and 2 threads, float64 too: many minutes")
    parser.add_argument("--check", action="store_true", help="tiny sizes: whether everything runs, in seconds")
    parser.add_argument("--compile", action="store_true", help="add torch.compile of the good loop: minutes a case")
    parser.add_argument("--only", metavar="TEXT", help="the cases whose name contains it, the default run's or not")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--instruction-set", metavar="NAME", choices=library.instruction_sets(), help="%(choices)s")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="- for the standard output")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="needs matplotlib")
    options = parser.parse_args(argv)
    if options.full and options.check:
        parser.error("--full and --check exclude each other")
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
    if options.instruction_set or px.build_config()["instruction_set"]:
        use_instruction_set(options.instruction_set or px.build_config()["instruction_set"])
    benchmark = Benchmark(options)
    if reason := px.build_config()["why_no_native"]:
        benchmark.notes.append(f"skipped: {NATIVE} ({reason})")
    if options.check:
        cases = list({case.kind: replace(case, size=case.size.tiny()) for case in cases}.values())
    if options.only:
        cases = [replace(case, in_default=True) for case in cases if options.only in str(case)]
        if not cases:
            print(f"{Path(script).name}: no case has {options.only!r} in its name", file=sys.stderr)
            return 2
    default_threads, start = torch.get_num_threads(), time.perf_counter()

    def out_of_time() -> bool:
        return time.perf_counter() - start > DEFAULT_LIMIT and not (options.full or options.compile)

    try:
        for case in cases:
            if not (case.in_default or options.full):
                benchmark.notes.append(f"skipped: {case} (--full times it)")
                continue
            counts = (options.threads,) if options.threads else (1, 2) if options.full else case.threads
            for dtype in (torch.float32, torch.float64) if options.full else (torch.float32,):
                for threads in counts:
                    if out_of_time():
                        benchmark.notes.append(f"skipped: {case}, {threads} threads (out of time; --full times it)")
                    else:
                        benchmark.run(case, dtype, threads)
        benchmark.measure_memory(out_of_time)
    finally:
        torch.set_num_threads(default_threads)
    if not options.full:
        benchmark.notes.append("skipped: float64, and thread counts other than those shown (--full times them)")

    report(benchmark, targets, environment(script, argv, (row.threads for row in benchmark.rows)), options)
    return 1 if benchmark.mismatches else 0
