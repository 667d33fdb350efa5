"""Checks every provider of a case, and times them side by side."""

import sys
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .._sentences import counted
from ..operators import library
from . import peak_memory
from .extent import Extent, Job
from .problems import AS_WRITTEN, COMPILED, FLOOR, NATIVE, Case, Differentiable, Provider, compiled, worst_error
from .reliability import OtherProcesses
from .row import Row
from .timing import FEWEST_ROUNDS, paired

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # RMS error over RMS of the exact value


class Benchmark:
    """A run of cases, and what it found.

    Args:
        compile: torch.compile of the good loop is a provider, too; there is no limit of time then.
        otherwise: what makes a run do what this one has no time for, such as " without --full".
    """

    def __init__(self, extent: Extent, compile: bool = False, otherwise: str = "") -> None:
        self.extent: Extent = extent
        self.compile: bool = compile
        self.otherwise: str = otherwise
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.skipped: dict[str, list[str]] = {}  # what, by why
        self.mismatches: list[str] = []
        self._unmeasured: list[tuple[Case, torch.dtype, int, list[str], dict[str, Row]]] = []
        if reason := library.why_no_native():
            self.skip(reason, NATIVE)

    def skip(self, why: str, *what: str) -> None:
        self.skipped.setdefault(why, []).extend(what)

    def run(self, jobs: Iterable[Job]) -> None:
        """Times all jobs, then measures their memory, as far as there is time."""
        default_threads, start = torch.get_num_threads(), time.perf_counter()

        def out_of_time() -> bool:
            return time.perf_counter() - start > self.extent.total and not self.compile

        try:
            for job in jobs:
                if out_of_time():
                    self.skip(f"out of time{self.otherwise}", f"{job.case}, {counted(job.threads, 'thread')}")
                else:
                    self._run(job)
            self._measure_memory(out_of_time)
        finally:
            torch.set_num_threads(default_threads)

    def _run(self, job: Job) -> None:
        case, dtype, threads, wanted = job
        label = f"{case} {str(dtype).removeprefix('torch.')}, {counted(threads, 'thread')}"
        print(label, end=" ... ", file=sys.stderr, flush=True)
        start = time.perf_counter()
        torch.set_num_threads(threads)
        problem = case.problem(dtype)
        providers = [p for p in problem.providers if wanted is None or p.name in wanted]
        if self.compile and (extra := compiled(problem)):
            providers.append(extra)
        exact = problem.reference()
        good: list[Provider] = []
        errors: dict[str, float] = {}
        for provider in providers:
            if self._check(provider, exact, label, TOLERANCE[dtype], errors):
                good.append(provider)
        modes = self.extent.modes
        rows = {mode: self._time(case, dtype, threads, mode, good, errors) for mode in modes}
        failed = [p.name for p in providers if p.name in errors and p not in good]
        for mode in modes:
            self.rows += rows[mode].values()
            self.rows += [Row(case, dtype, threads, mode, name, errors[name]) for name in failed]
        if self.extent.memory != "none":
            measurable = [p.name for p in good if isinstance(p, Differentiable) and p.name != COMPILED]
            if self.extent.memory == "ours":
                measurable = [name for name in measurable if name == case.ours]
            self._unmeasured.append((case, dtype, threads, measurable, rows["forward+backward"]))
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)

    def _check(
        self, provider: Provider, exact: dict[str, Tensor], label: str, tolerance: float, errors: dict[str, float]
    ) -> bool:
        """Whether to time the provider: it gives the right numbers, and is not too slow for this run."""
        if not isinstance(provider, Differentiable):
            return True
        start = time.perf_counter()
        results = provider.results()
        seconds = time.perf_counter() - start
        error, where = worst_error(results, provider.exact() if provider.exact else exact)
        errors[provider.name] = error
        if error > tolerance:
            worst = f"error {error:.1e} in {where}, allowed {tolerance:.0e}"
            self.mismatches.append(f"MISMATCH {label}, {provider.name}: {worst}")
            return False
        if provider.name == COMPILED:
            self.notes.append(f"{label}: torch.compile of the good loop and its first step took {seconds:.1f} s")
        estimate = (FEWEST_ROUNDS + 2) * seconds
        if provider.name == AS_WRITTEN and estimate > self.extent.loop_limit:
            self.skip(f"too slow{self.otherwise}", f"{label}, {provider.name} (about {estimate:.0f} s)")
            del errors[provider.name]
            return False
        return True

    def _time(
        self,
        case: Case,
        dtype: torch.dtype,
        threads: int,
        mode: str,
        providers: list[Provider],
        errors: dict[str, float],
    ) -> dict[str, Row]:
        steps = {p.name: p.step(mode) for p in providers}
        extent, others = self.extent, OtherProcesses()
        times = paired(steps, extent.seconds, extent.fewest, extent.limit)
        busy = others.busy()
        rows = {name: Row(case, dtype, threads, mode, name, errors.get(name), times[name]) for name in steps}
        for provider in providers:
            row = rows[provider.name]
            row.busy = busy
            if not isinstance(provider, Differentiable) or provider.exact is None:
                row.baseline, row.floor = rows.get(case.baseline), rows.get(FLOOR)
        return rows

    def _measure_memory(self, out_of_time: Callable[[], bool]) -> None:
        """Of all cases that have run: each provider takes a fresh process, which is slower than timing it."""
        for case, dtype, threads, names, rows in self._unmeasured:
            if out_of_time():
                self.skip(f"out of time{self.otherwise}", f"peak memory of {case}, {counted(threads, 'thread')}")
                continue
            for name, peak in peak_memory.peaks(case, dtype, threads, names).items():
                rows[name].memory_mib = peak
        self._unmeasured.clear()
