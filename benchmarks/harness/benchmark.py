"""Checks every provider of a case, and times them side by side."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from . import peak_memory
from .problems import AS_WRITTEN, BASELINE, COMPILED, FLOOR, MODES, Case, Differentiable, Target, compiled, worst_error
from .timing import FEWEST_ROUNDS, paired, paired_ratio

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # RMS error over RMS of the exact value
LOOP_LIMIT = 3.0  # seconds that a default run spends at most on timing one loop as written


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
