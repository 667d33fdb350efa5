"""The command line of the benchmarks of layers and of recurrences."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pixelrnn_ext.benchmark.device import add_option
from pixelrnn_ext.benchmark.gpu import GpuCase
from pixelrnn_ext.benchmark.jobs import SHORT, Budget, Job, short_jobs
from pixelrnn_ext.benchmark.problems import MODES, Case
from pixelrnn_ext.benchmark.report import ONLY_CPU
from pixelrnn_ext.benchmark.run import Benchmark
from pixelrnn_ext.operators import library

from . import on_gpu
from .compiled import with_compiled
from .options import CHECK, DEFAULT, FULL, VERDICT, make_parser
from .peak import measure
from .report import header, report
from .requirements import AnyTarget

FULL_ONLY = "only with --full"
BUDGETS = {
    DEFAULT: SHORT,
    FULL: Budget(seconds=0.35, memory_of_all=True),
    CHECK: Budget(seconds=0.0, fewest=2, memory=1),
    VERDICT: Budget(seconds=2.0, memory=0),
}
# Names of instruction sets in MKL, torch and oneDNN. The libraries compute a set without names as the set below it.
LIBRARY_NAMES = {
    "baseline": ("SSE4_2", "default", "SSE41"),
    "avx2": ("AVX2", "avx2", "AVX2"),
    "avx512": ("AVX512", "avx512", "AVX512_CORE"),
    "avx512_bf16": ("AVX512", "avx512", "AVX512_CORE_BF16"),
}


def parse(description: str, argv: list[str], has_gpu: bool) -> argparse.Namespace:
    full = "all sizes, modes and providers, 1 and 2 threads, float64 too, percentiles: many minutes"
    parser = make_parser(description, full, help="default: chosen for each case")
    parser.add_argument("--only", metavar="TEXT", help="run the cases with TEXT in their name, also those of --full")
    parser.add_argument("--instruction-set", metavar="NAME", choices=library.instruction_sets(), help="%(choices)s")
    compiled = "time the baseline under torch.compile, too, which takes a minute a case to compile; not in --verdict"
    parser.add_argument("--compiled", action="store_true", help=compiled)
    warm = "call each implementation again right before it is timed, as if it ran alone"
    parser.add_argument("--warm", action="store_true", help=warm)
    if has_gpu:
        add_option(parser)
    else:
        parser.set_defaults(device="cpu")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="- for the standard output")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw speed-ups as bars; needs matplotlib")
    options = parser.parse_args(argv)
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


def use_instruction_set(name: str) -> None:
    """Restricts our kernels and torch's libraries to one instruction set.

    The function must run before MKL, ATen or oneDNN is first used, because each library reads its environment variable
    at its first use.
    """
    library.set_instruction_set(name)
    os.environ |= {"PIXELRNN_INSTRUCTION_SET": name}  # for the child processes that measure memory
    available = library.instruction_sets()
    if name != available[-1]:
        known = [other for other in available[: available.index(name) + 1] if other in LIBRARY_NAMES]
        mkl, aten, onednn = LIBRARY_NAMES[known[-1]]
        os.environ |= {"MKL_ENABLE_INSTRUCTIONS": mkl, "ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}


def jobs(cases: list[Case], targets: list[AnyTarget], options: argparse.Namespace) -> list[Job]:
    if options.scope == VERDICT:
        wanted = {}
        for target in targets:
            for threads, names in target.timed.items():
                wanted.setdefault((target.case, threads), set()).update(names)
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


def measure_peaks(benchmark: Benchmark) -> None:
    try:
        benchmark.peaks = measure(result.job.threads for result in benchmark.results)
    except (OSError, subprocess.CalledProcessError) as error:
        benchmark.skip(f"no peak is measured ({error})", "share of peak")


def nothing_selected(script: str, options: argparse.Namespace) -> int:
    print(f"{Path(script).name}: no case has {options.only!r} in its name", file=sys.stderr)
    return 2


def main(
    script: str,
    description: str,
    cases: list[Case],
    targets: list[AnyTarget],
    argv: list[str] | None = None,
    gpu_cases: Sequence[GpuCase] = (),
) -> int:
    """Returns the exit status: 1 for wrong results, 2 if the options select nothing, otherwise 0."""
    argv = sys.argv[1:] if argv is None else argv
    options, why = parse(description, argv, bool(gpu_cases)), ONLY_CPU
    if gpu_cases:
        only_cpu = {
            "--verdict": options.scope == VERDICT,
            "--threads": options.threads,
            "--instruction-set": options.instruction_set,
            "--warm": options.warm,
        }
        device, why = on_gpu.choose(options, only_cpu)
        if device == "cuda":
            rows = on_gpu.layer_rows(list(gpu_cases), options)
            return on_gpu.main(script, argv, options, rows, why) if rows else nothing_selected(script, options)
    # The default may be below the best set, because that is faster. It does not restrict the baselines.
    if instruction_set := options.instruction_set or os.environ.get("PIXELRNN_INSTRUCTION_SET"):
        use_instruction_set(instruction_set)
    if options.scope == CHECK:
        cases = list({case.kind: replace(case, size=case.size.tiny()) for case in cases}.values())
    if options.only:
        cases = [case for case in cases if options.only in str(case)]
        if not cases:
            return nothing_selected(script, options)
    targets = [t for t in targets if t.case in cases and options.threads in (None, *t.timed)]
    if options.scope == VERDICT and not targets:
        print(f"{Path(script).name}: nothing is required of these cases and numbers of threads", file=sys.stderr)
        return 2

    benchmark = Benchmark(replace(BUDGETS[options.scope], warm=options.warm), otherwise=" without --full")
    if options.scope == DEFAULT and not options.only:
        benchmark.skip(FULL_ONLY, *(str(case) for case in cases if not case.in_default))
        cases = [case for case in cases if case.in_default]
    if options.compiled:
        cases = [with_compiled(case) for case in cases]
    benchmark.run(jobs(cases, targets, options))
    measure_peaks(benchmark)
    if options.scope == DEFAULT:
        benchmark.skip(FULL_ONLY, "percentiles, forward and backward alone, other providers, float64, other threads")

    threads = (result.job.threads for result in benchmark.results)
    report(benchmark, targets, header(script, argv, threads, why), options)
    return 1 if benchmark.mismatches else 0
