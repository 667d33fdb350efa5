"""Checks the results of every implementation of a case, and times the implementations side by side."""

import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .._process import keep_freed_memory
from ..operators import library
from . import peak_memory
from .jobs import Budget, Job, Peaks, Result
from .problems import AS_WRITTEN, NATIVE, Differentiable, worst_error
from .timing import FEWEST_ROUNDS, paired, progress, timed

# The largest allowed ratio of RMS error to exact RMS value.
TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-12}


class Benchmark:
    """Runs jobs, and collects their results.

    ``otherwise``, such as " without --full", is added to the reason why a job is skipped.
    """

    def __init__(self, budget: Budget, otherwise: str = "") -> None:
        keep_freed_memory()  # for all implementations, so that no time includes page faults of freed memory
        self.budget = budget
        self.otherwise = otherwise
        self.results: list[Result] = []
        # Empty if the peak of the processor is not known.
        self.peaks: Peaks = {}
        # The names of skipped jobs or implementations, by reason.
        self.skipped: dict[str, list[str]] = {}
        self.mismatches: list[str] = []
        if reason := library.why_no_native():
            self.skip(reason, NATIVE)

    def skip(self, reason: str, *items: str) -> None:
        skipped = self.skipped.setdefault(reason, [])
        skipped.extend(item for item in items if item not in skipped)

    def remarks(self) -> list[str]:
        skipped = [f"skipped, {reason}: {'; '.join(items)}" for reason, items in self.skipped.items()]
        return [*skipped, *self.mismatches]

    def run(self, jobs: Iterable[Job]) -> None:
        default_threads, start = torch.get_num_threads(), time.perf_counter()

        def out_of_time() -> bool:
            return time.perf_counter() - start > self.budget.total

        done = []
        try:
            for job in jobs:
                if out_of_time():
                    self.skip(f"out of time{self.otherwise}", job.label)
                else:
                    torch.set_num_threads(job.threads)
                    with progress(str(job)):
                        done.append(self._run(job))
            # Measures memory last, because this takes longer. Each implementation gets a fresh process.
            for result, measurable in done[: self.budget.memory]:
                self._measure_memory(result, measurable, out_of_time)
        finally:
            torch.set_num_threads(default_threads)

    def _run(self, job: Job) -> tuple[Result, list[str]]:
        problem = job.case.problem(job.dtype)
        exact, errors = problem.reference(), dict[str, float]()
        requested = [p for p in problem.providers if job.providers is None or p.name in job.providers]
        for name, reason in problem.absent.items():
            if job.providers is None or name in job.providers:
                self.skip(reason, name)
        correct = [p for p in requested if self._check(p, exact, job, errors)]
        incomparable = [p.name for p in correct if p.exact]
        dtypes = {p.name: p.cotangent.dtype for p in correct}
        for mode in job.modes:
            steps = {p.name: p.step(mode) for p in correct}
            budget = self.budget
            times = paired(steps, budget.seconds, budget.fewest, budget.limit, warm=budget.warm)
            multiply_adds = problem.products.multiply_adds(mode)
            self.results.append(Result(job, mode, times, multiply_adds, dtypes, errors, incomparable))
        return self.results[-1], [p.name for p in correct]

    def _check(self, provider: Differentiable, exact: dict[str, Tensor], job: Job, errors: dict[str, float]) -> bool:
        """Returns whether an implementation is correct, and not a naive loop that takes too long to time."""
        tolerance = TOLERANCE[provider.cotangent.dtype]
        results, seconds = timed(provider.results)
        error, where = worst_error(results, provider.exact() if provider.exact else exact)
        estimate = (FEWEST_ROUNDS + 2) * seconds
        if error <= tolerance and provider.name == AS_WRITTEN and estimate > self.budget.loop_limit:
            self.skip(f"too slow{self.otherwise}", f"{job}, {provider.name} (about {estimate:.0f} s)")
            return False
        errors[provider.name] = error
        if error > tolerance:
            worst = f"error {error:.1e} in {where}, allowed {tolerance:.0e}"
            self.mismatches.append(f"MISMATCH {job}, {provider.name}: {worst}")
        return error <= tolerance

    def _measure_memory(self, result: Result, measurable: list[str], out_of_time: Callable[[], bool]) -> None:
        job = result.job
        if out_of_time():
            self.skip(f"out of time{self.otherwise}", f"peak memory of {job.label}")
            return
        names = [name for name in measurable if self.budget.memory_of_all or name == job.case.ours]
        result.peak_mib = peak_memory.peaks(job.case, job.dtype, job.threads, names)
