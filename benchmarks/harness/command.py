"""Runs the cases of a benchmark: checks every provider, times them side by side, prints and writes what came out."""

import argparse
import csv
import datetime
import importlib.util
import math
import os
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

import pixelrnn_ext as px
from pixelrnn_ext.operators import library

from . import peak_memory
from .plots import grouped_bars
from .problems import AS_WRITTEN, BASELINE, COMPILED, FLOOR, MODES, NATIVE, Case, Differentiable, Target, compiled
from .tables import grid
from .timing import FEWEST_ROUNDS, paired, paired_ratio

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # RMS error over RMS of the exact value
LOOP_LIMIT = 3.0  # seconds that a default run spends at most on timing one loop as written
DEFAULT_LIMIT = 40.0  # seconds after which a default run starts no other case, and no other measurement of memory
_ENGINES = {"baseline": ("SSE4_2", "default", "SSE41"), "avx2": ("AVX2", "avx2", "AVX2")}


@dataclass
class Row:
    """One line of the table: a provider in one mode. Without times, ``error`` is why."""

    case: Case
    dtype: torch.dtype
    threads: int
    mode: str
    provider: str
    error: float | None
    times: list[float | None] = field(default_factory=list)  # seconds, None in the rounds that it sat out
    baseline: "Row | None" = field(default=None, repr=False)
    floor: "Row | None" = field(default=None, repr=False)
    memory_mib: float | None = None

    def over(self, other: "Row | None") -> float | None:
        """Time over the other's time: the median over the rounds that timed both."""
        return paired_ratio(self.times, other.times) if other else None

    def values(self) -> dict[str, object]:
        """By column, None where there is nothing to say."""
        ran = [1e3 * t for t in self.times if t is not None]
        p20, _, _, p80 = statistics.quantiles(ran, n=5, method="inclusive") if ran else [None] * 4
        over_baseline, over_floor = self.over(self.baseline), self.over(self.floor)
        map_mib = self.case.size.cells * self.case.size.hidden * self.dtype.itemsize / peak_memory.MIB
        return {
            "case": str(self.case),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": self.threads,
            "mode": self.mode,
            "provider": self.provider,
            "median ms": statistics.median(ran) if ran else None,
            "p20 ms": p20,
            "p80 ms": p80,
            f"speed-up over {BASELINE}": 1 / over_baseline if over_baseline else None,
            f"share of {FLOOR}": 1 / over_floor if over_floor else None,
            "peak MiB": self.memory_mib,
            "peak in h maps": None if self.memory_mib is None else self.memory_mib / map_mib,
            "max error": self.error,
            "status": "mismatch" if not ran else "",
        }


def worst_error(got: dict[str, Tensor], exact: dict[str, Tensor]) -> tuple[float, str]:
    """The largest RMS error over the RMS of the exact value, and where it is."""

    def error(name):
        if got[name].shape != exact[name].shape:
            return math.inf
        difference, size = got[name].double() - exact[name], exact[name].square().mean().sqrt()
        ratio = float(difference.square().mean().sqrt() / size)
        return math.inf if math.isnan(ratio) else ratio

    return max((error(name), name) for name in exact)


class Benchmark:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.mismatches: list[str] = []
        self._unmeasured: list[tuple] = []
        self.timing = {"seconds": 0.0, "fewest": 2} if options.check else {"seconds": 0.35}
        if not options.full:
            self.timing["limit"] = 3.0

    def run(self, case: Case, dtype: torch.dtype, threads: int) -> None:
        label = f"{case} {str(dtype).removeprefix('torch.')}, {threads} thread{'s' * (threads > 1)}"
        print(label, end=" ... ", file=sys.stderr, flush=True)
        start = time.perf_counter()
        torch.set_num_threads(threads)
        problem = case.problem(dtype)
        providers = list(problem.providers)
        if self.options.compile and (extra := compiled(problem)):
            providers.append(extra)
        exact = problem.reference()
        good, errors = [], {}
        for provider in providers:
            if self._check(provider, exact, label, TOLERANCE[dtype], errors):
                good.append(provider)
        steps = {mode: {p.name: p.step(mode) for p in good} for mode in MODES}
        rows = {mode: self._time(case, dtype, threads, mode, steps[mode], errors) for mode in MODES}
        failed = [p.name for p in providers if p.name in errors and p not in good]
        for mode in MODES:
            self.rows += rows[mode].values()
            self.rows += [Row(case, dtype, threads, mode, name, errors[name]) for name in failed]
        measurable = [p.name for p in good if isinstance(p, Differentiable) and p.name != COMPILED]
        if not self.options.full:
            measurable = [name for name in measurable if name != AS_WRITTEN]
        self._unmeasured.append((case, dtype, threads, measurable, rows["forward+backward"]))
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)

    def _check(self, provider, exact, label, tolerance, errors) -> bool:
        """Whether to time the provider: it gives the right numbers, and is not too slow for this run."""
        if not isinstance(provider, Differentiable):
            return True
        start = time.perf_counter()
        error, where = worst_error(provider.results(), exact)
        seconds = time.perf_counter() - start
        errors[provider.name] = error
        if error > tolerance:
            worst = f"error {error:.1e} in {where}, allowed {tolerance:.0e}"
            self.mismatches.append(f"MISMATCH {label}, {provider.name}: {worst}")
            return False
        if provider.name == COMPILED:
            self.notes.append(f"{label}: torch.compile of the good loop and its first step took {seconds:.1f} s")
        estimate = 2 * (FEWEST_ROUNDS + 2) * seconds
        if provider.name == AS_WRITTEN and estimate > LOOP_LIMIT and not self.options.full:
            self.notes.append(f"skipped: {label}, {provider.name} (about {estimate:.0f} s; --full times it)")
            del errors[provider.name]
            return False
        return True

    def _time(self, case, dtype, threads, mode, steps, errors) -> dict[str, Row]:
        times = paired(steps, **self.timing)
        rows = {name: Row(case, dtype, threads, mode, name, errors.get(name), times[name]) for name in steps}
        for row in rows.values():
            row.baseline, row.floor = rows.get(BASELINE), rows.get(FLOOR)
        return rows

    def measure_memory(self, out_of_time: Callable[[], bool]) -> None:
        """Of all cases that have run: each provider takes a fresh process, which is slower than timing it."""
        for case, dtype, threads, names, rows in self._unmeasured:
            if out_of_time():
                self.notes.append(
                    f"skipped: peak memory of {case}, {threads} threads (out of time; --full measures it)"
                )
                continue
            for name, peak in peak_memory.peaks(case, dtype, threads, names).items():
                rows[name].memory_mib = peak
        self._unmeasured.clear()

    def measured(self, target: Target) -> float | None:
        """The ratio that the target bounds; None where this run did not time it."""
        rows = {
            row.provider: row
            for row in self.rows
            if row.case == target.case
            and (row.dtype, row.threads, row.mode) == (torch.float32, target.threads, "forward+backward")
        }
        if target.provider not in rows:
            return None
        ratio = rows[target.provider].over(rows.get(target.against))
        return ratio if ratio is None or target.at_most is not None else 1 / ratio


def table(rows: list[Row], markdown: bool) -> str:
    def number(value, form):
        return "-" if value is None else format(value, form)

    lines = []
    for row in rows:
        v = row.values()
        spread = "mismatch" if v["status"] else f"{v['p20 ms']:.2f}-{v['p80 ms']:.2f}"
        lines.append(
            [
                *(v["case"], v["dtype"], str(v["threads"]), v["mode"], v["provider"]),
                *(number(v["median ms"], ".2f"), spread),
                *(number(v[f"speed-up over {BASELINE}"], ".2f"), number(v[f"share of {FLOOR}"], ".0%")),
                *(number(v["peak MiB"], ".1f"), number(v["peak in h maps"], ".1f"), number(v["max error"], ".0e")),
            ]
        )
    header = ["case", "dtype", "threads", "mode", "provider", "median ms", "p20-p80 ms"]
    header += [f"speed-up over {BASELINE}", f"share of {FLOOR}", "peak MiB", "in h maps", "max error"]
    return grid(header, lines, markdown)


def target_table(benchmark: Benchmark, targets: list[Target], markdown: bool) -> str:
    level = px.build_config()["instruction_set"]
    lines = []
    for target in targets:
        measured, required = benchmark.measured(target), target.required(level)
        if measured is None:
            continue
        below = target.at_most is not None
        quantity = f"{target.provider} {'time over' if below else 'faster than'} {target.against}"
        met = required is not None and (measured <= required if below else measured >= required)
        bound = "none" if required is None else f"{'<=' if below else '>='} {required:.2f}"
        verdict = "-" if required is None else "met" if met else "missed"
        lines.append([str(target.case), str(target.threads), quantity, bound, f"{measured:.2f}", verdict])
    header = ["case", "threads", "float32 forward+backward", f"required ({level})", "measured", "verdict"]
    return grid(header, lines, markdown) if lines else ""


def environment(script: str, argv: list[str], rows: list[Row]) -> dict[str, str]:
    config = px.build_config()
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(script).name}", *argv]),
        "CPU": f"{cpu_model()}, {os.cpu_count()} logical cores",
        "torch": torch.__version__,
        "pixelrnn_ext": config["version"],
        "threads": ", ".join(map(str, dict.fromkeys(row.threads for row in rows))),
        "instruction set": f"{config['instruction_set'] or 'none'} (torch: {torch.backends.cpu.get_cpu_capability()})",
        "date": datetime.date.today().isoformat(),
    }


def cpu_model() -> str:
    try:
        names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def use_instruction_set(name: str) -> None:
    """Holds the kernels to an instruction set, and MKL, oneDNN and torch, which read theirs at their first use."""
    library.set_instruction_set(name)
    if name != library.instruction_sets()[-1]:
        mkl, aten, onednn = _ENGINES[name]
        os.environ |= {"PIXELRNN_INSTRUCTION_SET": name}  # for the processes that measure memory
        os.environ |= {"MKL_ENABLE_INSTRUCTIONS": mkl, "ATEN_CPU_CAPABILITY": aten, "ONEDNN_MAX_CPU_ISA": onednn}


def explanations() -> list[str]:
    return [
        "Every provider's outputs and gradients were compared with the float64 reference before it was timed.",
        f"Ratios are medians over rounds that time all providers in turn. {FLOOR}: the matrix products alone, one "
        "torch.mm each; with out= into existing memory. A share above 100% is faster than the floor.",
        f"{peak_memory.METHOD} For a recurrence alone, gates (4), c, h and one more map of 4 make 10 h maps; the "
        "weight's gradient comes on top.",
    ]


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0].values()))
        writer.writeheader()
        writer.writerows(row.values() for row in rows)


def plot(path: Path, rows: list[Row], title: str) -> None:
    """Median forward+backward times, one group of bars a case."""
    rows = [row for row in rows if row.mode == "forward+backward" and row.times]
    medians = {(str(r.case), r.dtype, r.threads, r.provider): r.values()["median ms"] for r in rows}
    groups = list(dict.fromkeys(key[:3] for key in medians))
    labels = [f"{case}\n{str(dtype).removeprefix('torch.')}, {threads} threads" for case, dtype, threads in groups]
    series = {r.provider: [medians.get((*group, r.provider)) for group in groups] for r in rows}
    labels = [label.replace(" B", "\nB") for label in labels]
    grouped_bars(path, labels, series, "forward+backward, median ms", title)


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

    report(benchmark, targets, environment(script, argv, benchmark.rows), options)
    return 1 if benchmark.mismatches else 0


def report(benchmark: Benchmark, targets: list[Target], header: dict[str, str], options: argparse.Namespace) -> None:
    def text(markdown):
        facts = [f"{name}: {value}" for name, value in header.items()]
        notes = explanations() + benchmark.notes + benchmark.mismatches
        start = "- " if markdown else ""
        lists = ["\n".join(start + line for line in lines) for lines in (facts, notes)]
        tables = [table(benchmark.rows, markdown), target_table(benchmark, targets, markdown)]
        return "\n\n".join(filter(None, [lists[0], tables[0], lists[1], tables[1]])) + "\n"

    print(text(options.markdown == Path("-")), end="")
    if options.markdown and options.markdown != Path("-"):
        options.markdown.write_text(text(True))
    if options.csv:
        write_csv(options.csv, benchmark.rows)
    if options.plot:
        plot(options.plot, benchmark.rows, ", ".join(f"{k} {header[k]}" for k in ("CPU", "torch", "date")))
