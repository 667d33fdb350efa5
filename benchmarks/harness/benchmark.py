"""Checks every provider of a case, and times them side by side."""

import sys
import time
from collections.abc import Callable, Collection

import torch

from . import peak_memory
from .extent import DEFAULT, EXTENTS, FULL, VERDICT
from .problems import AS_WRITTEN, COMPILED, FLOOR, Case, Differentiable, Target, compiled, worst_error
from .reliability import OtherProcesses, doubt
from .row import Row
from .tables import counted
from .timing import FEWEST_ROUNDS, paired
from .verdict import Verdict

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # RMS error over RMS of the exact value
OUT_OF_TIME = "out of time without --full"
LOOP_LIMIT = 6.0  # seconds that a default run spends at most on timing one loop as written


class Benchmark:
    def __init__(self, extent: str = DEFAULT, compile: bool = False):
        self.extent, self.compile = extent, compile
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.skipped: dict[str, list[str]] = {}  # what, by why
        self.mismatches: list[str] = []
        self._unmeasured: list[tuple] = []

    def skip(self, why: str, *what: str) -> None:
        self.skipped.setdefault(why, []).extend(what)

    def run(self, case: Case, dtype: torch.dtype, threads: int, wanted: Collection[str] | None = None) -> None:
        """Of the providers ``wanted``, all by default."""
        label = f"{case} {str(dtype).removeprefix('torch.')}, {counted(threads, 'thread')}"
        print(label, end=" ... ", file=sys.stderr, flush=True)
        start = time.perf_counter()
        torch.set_num_threads(threads)
        problem = case.problem(dtype)
        providers = [p for p in problem.providers if wanted is None or p.name in wanted]
        if self.compile and (extra := compiled(problem)):
            providers.append(extra)
        exact = problem.reference()
        good, errors = [], {}
        for provider in providers:
            if self._check(provider, exact, label, TOLERANCE[dtype], errors):
                good.append(provider)
        modes = EXTENTS[self.extent].modes
        steps = {mode: {p.name: p.step(mode) for p in good} for mode in modes}
        rows = {mode: self._time(case, dtype, threads, mode, steps[mode], errors) for mode in modes}
        failed = [p.name for p in providers if p.name in errors and p not in good]
        for mode in modes:
            self.rows += rows[mode].values()
            self.rows += [Row(case, dtype, threads, mode, name, errors[name]) for name in failed]
        if self.extent != VERDICT:
            measurable = [p.name for p in good if isinstance(p, Differentiable) and p.name != COMPILED]
            if self.extent != FULL:
                measurable = [name for name in measurable if name == case.ours]
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
        estimate = (FEWEST_ROUNDS + 2) * seconds
        if provider.name == AS_WRITTEN and self.extent == DEFAULT and estimate > LOOP_LIMIT:
            self.skip("too slow without --full", f"{label}, {provider.name} (about {estimate:.0f} s)")
            del errors[provider.name]
            return False
        return True

    def _time(self, case, dtype, threads, mode, steps, errors) -> dict[str, Row]:
        extent, others = EXTENTS[self.extent], OtherProcesses()
        times = paired(steps, extent.seconds, extent.fewest, extent.limit)
        busy = others.busy()
        rows = {name: Row(case, dtype, threads, mode, name, errors.get(name), times[name]) for name in steps}
        for row in rows.values():
            row.baseline, row.floor, row.busy = rows.get(case.baseline), rows.get(FLOOR), busy
        return rows

    def measure_memory(self, out_of_time: Callable[[], bool]) -> None:
        """Of all cases that have run: each provider takes a fresh process, which is slower than timing it."""
        for case, dtype, threads, names, rows in self._unmeasured:
            if out_of_time():
                self.skip(OUT_OF_TIME, f"peak memory of {case}, {counted(threads, 'thread')}")
                continue
            for name, peak in peak_memory.peaks(case, dtype, threads, names).items():
                rows[name].memory_mib = peak
        self._unmeasured.clear()

    def verdict(self, target: Target, instruction_set: str) -> Verdict:
        """Of the target's ratio, if this run timed it."""
        rows = {
            row.provider: row
            for row in self.rows
            if row.case == target.case
            and (row.dtype, row.threads, row.mode) == (torch.float32, target.threads, "forward+backward")
        }
        row, against = rows.get(target.provider), rows.get(target.against)
        ratio, below = row.over(against) if row and against else None, target.at_most is not None
        return Verdict(
            f"{target.case}, {counted(target.threads, 'thread')}",
            f"{target.provider} {'time over' if below else 'faster than'} {target.against}",
            target.required(instruction_set),
            ratio if below or ratio is None else 1 / ratio,
            below,
            doubt([row.times, against.times], row.busy) if ratio else "",
        )
