"""What each part of the day does."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from . import ROOT, card, costs, micro, pytest_runs, report, stoppable
from .clock import Sampler
from .jobs import LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS
from .parts import CLOCKED, Budget
from .results import Results
from .run_job import START, run_job
from .verdict import counts, verdicts
from .worker import Worker


class Day:
    def __init__(self, options: argparse.Namespace, budget: Budget, results: Results):
        self.out, self.budget, self.results = options.out, budget, results
        self.failed = False

    def record(self, part: str, status: str, note: str) -> None:
        self.failed |= status == "failed"
        self.results.part(part, status, note)
        say(f"{part}: {status}" + f", {note}" * bool(note))
        if self.results.unsaved:
            say(f"gpu_day: {self.results.unsaved}")

    def run(self, part: str) -> None:
        """One part; its exception is its result."""
        self.results.part(part, "interrupted", "")
        start = time.monotonic()
        sampler = Sampler() if part in CLOCKED else nullcontext()
        try:
            with sampler:
                status, note = getattr(self, part)(self.budget.of(part))
        except Exception as error:
            status, note = "failed", f"{type(error).__name__}: {error}"
        if part in CLOCKED:
            self.results.clock(part, sampler.found())
        self.record(part, status, f"{note}; {time.monotonic() - start:.0f} s")

    def build(self, seconds: float) -> tuple[str, str]:
        _, config = card.probe(self.out)
        reason = config["why_no_gpu"]
        if reason is None:
            return "ok", f"the installed kernels run on this card: {card.kernels(config)}"
        say(f"build: {reason}")
        command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
        environment = {"PIXELRNN_CUDA": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        status = stoppable.run(command, self.out / "build.log", seconds, ROOT, grace=2, **environment)
        if status is None:
            return "failed", f"stopped after {seconds:.0f} s; see build.log"
        _, config = card.probe(self.out)
        self.results.data["environment"]["kernels"] = card.kernels(config)
        still = config["why_no_gpu"]
        if status or still:
            return "failed", f"pip ended with exit status {status}, and {still or 'the kernels run'}; see build.log"
        return "ok", f"built {card.kernels(config)}, since {reason}"

    def check(self, seconds: float) -> tuple[str, str]:
        return self._pytest("check", pytest_runs.CHECK, seconds)

    def tests(self, seconds: float) -> tuple[str, str]:
        return self._pytest("tests", pytest_runs.OTHERS, seconds)

    def sanitizer(self, seconds: float) -> tuple[str, str]:
        each = (seconds - stoppable.GRACE - START) / pytest_runs.TOOLS  # a tool that takes longer is skipped
        limit = {"PIXELRNN_SANITIZER_SECONDS": f"{max(1.0, each):.0f}"}
        return self._pytest("sanitizer", pytest_runs.SANITIZER, seconds, **limit)

    def _pytest(self, part: str, selection: list[str], seconds: float, **environment: str) -> tuple[str, str]:
        log, limit = self.out / f"{part}.log", max(1.0, seconds - stoppable.GRACE)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-m", "cuda", "-ra", "-q", f"--junitxml={report}"]
            command += ["--continue-on-collection-errors", *selection]  # of other modules
            # Tiles that are measured would be others in every run.
            status = stoppable.run(command, log, limit, ROOT, PIXELRNN_TUNE_TILES="0", **environment)
            found = pytest_runs.read(report)
        self.results.tests(part, found)
        stopped = f"stopped after {limit:.0f} s; " if status is None else ""
        return pytest_runs.judge(found, stopped, closing_line(log))

    def layouts(self, seconds: float) -> tuple[str, str]:
        status, note = self._bench("layouts", LAYOUT_JOBS, seconds, _measure_layouts, "layouts")
        return status, f"{note}; {costs.write_costs(self.out, self.results.data)}"

    def micro(self, seconds: float) -> tuple[str, str]:
        self.results.forget("micro")
        counts = Counter()

        def report(result):
            counts[result["status"]] += 1
            self.results.add("micro", [result], "micro")

        architecture = self.results.data["environment"]["architecture"]
        micro.measure(architecture, seconds, report)
        return "failed" if counts["failed"] else "ok", ", ".join(f"{n} {status}" for status, n in counts.items())

    def operators(self, seconds: float) -> tuple[str, str]:
        return self._bench("operators", OPERATOR_JOBS, seconds, _measure_operators, "operators")

    def small(self, seconds: float) -> tuple[str, str]:
        return self._bench("small", SMALL_JOBS, seconds)

    def large(self, seconds: float) -> tuple[str, str]:
        return self._bench("large", LARGE_JOBS, seconds)

    def _bench(self, part, jobs, seconds, work=None, table="measurements") -> tuple[str, str]:
        end = time.monotonic() + seconds
        self.results.forget(part)
        worker = Worker(work or _measure)
        ran, broken = 0, 0
        try:
            for job in jobs:
                keep = partial(self.results.add, part, table=table)
                measurements = run_job(job, worker, end - time.monotonic(), keep)
                self.results.add(part, measurements, table)
                ran += any(m["status"] != "not run" for m in measurements)
                broken += sum(m["status"] in ("failed", "mismatch") for m in measurements)
                say(f"{part}: {job}: {summary(measurements)}")
        finally:
            worker.close()
        return "failed" if broken else "ok", f"{ran} of {len(jobs)} jobs ran, {broken} results failed"

    def plots(self, seconds: float) -> tuple[str, str]:
        return "ok", report.plot(self.out, self.results.data)

    def verdict(self, seconds: float) -> tuple[str, str]:
        return "ok", counts(verdicts(self.results.data["measurements"]))


def _measure(request, report):
    from .measure import measure  # here, in the worker: it imports the package that was just built

    measure(*request, report)


def _measure_layouts(request, report):
    from .scans import measure_layouts

    measure_layouts(*request, report)


def _measure_operators(request, report):
    from .scans import measure_operators

    measure_operators(*request, report)


def closing_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip("= ") if lines else "nothing"


def summary(measurements: list[dict]) -> str:
    statuses = [m["status"] for m in measurements]
    bad = [m for m in measurements if m["status"] in ("failed", "mismatch", "not run")]
    notes = [f"{m['provider'] or 'all'}: {m['note']}" for m in bad]
    return "; ".join([", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses)), *notes])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
