"""What each part of the day does."""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from . import BUILT_IN_PLACE, ROOT, card, costs, pytest_runs, stoppable
from .jobs import EXCHANGE_JOB, LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS
from .parts import Budget
from .results import Results
from .run_job import START, run_job
from .worker import Worker


class Day:
    def __init__(self, out: Path, results: Results):
        self.out, self.results = out, results
        self.failed = self._again = False

    def record(self, part: str, status: str, note: str) -> None:
        self.failed |= status == "failed"
        self.results.part(part, status, note)
        say(f"{part}: {status}" + f", {note}" * bool(note))
        if self.results.unsaved:
            say(f"gpu_day: {self.results.unsaved}")

    def session(self, parts: list[str], budget: Budget, again: bool = False) -> bool:
        """Runs the parts that an earlier run has not finished; ``again``: all of them, afresh. False where the kernels
        cannot be built, after which nothing else is run."""
        self._again = again
        for part in parts:
            if again or part == "build" or self.results.data["parts"][part]["status"] != "ok":
                self.run(part, budget.of(part))
            if part == "build" and self.results.data["parts"][part]["status"] == "failed":
                for name in parts[1:]:
                    if self.results.data["parts"][name]["status"] != "ok":
                        self.record(name, "not run", "the build failed")
                return False
        return True

    def run(self, part: str, seconds: float) -> None:
        """One part; its exception is its result."""
        self.results.part(part, "interrupted", "")
        start = time.monotonic()
        try:
            status, note = getattr(self, part)(seconds)
        except Exception as error:
            status, note = "failed", f"{type(error).__name__}: {error}"
        self.record(part, status, f"{note}; {time.monotonic() - start:.0f} s")

    def build(self, seconds: float) -> tuple[str, str]:
        _, config = card.probe(self.out)
        reason = card.why_not(config)
        if reason is None:
            return "ok", f"the installed kernels run on this card: {card.kernels(config)}"
        say(f"build: {reason}")
        command = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
        if BUILT_IN_PLACE:
            command = ["setup.py", "build_ext", "--inplace"]
        environment = {"PIXELRNN_CUDA": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        log = self.out / "build.log"
        status = stoppable.run([sys.executable, *command], log, seconds, ROOT, grace=2, **environment)
        if status is None:
            return "failed", f"stopped after {seconds:.0f} s; see build.log"
        _, config = card.probe(self.out)
        self.results.data["environment"]["kernels"] = card.kernels(config)
        still = card.why_not(config)
        if status or still:
            return "failed", f"exit status {status}, and {still or 'the kernels run'}; see build.log"
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

    def exchange(self, seconds: float) -> tuple[str, str]:
        return self._bench("exchange", [EXCHANGE_JOB], seconds, _measure_exchange, "exchange")

    def operators(self, seconds: float) -> tuple[str, str]:
        return self._bench("operators", OPERATOR_JOBS, seconds, _measure_operators, "operators")

    def small(self, seconds: float) -> tuple[str, str]:
        return self._bench("small", SMALL_JOBS, seconds)

    def large(self, seconds: float) -> tuple[str, str]:
        return self._bench("large", LARGE_JOBS, seconds)

    def _bench(self, part, jobs, seconds, work=None, table="measurements") -> tuple[str, str]:
        """Jobs of which an earlier run has all results are not run again."""
        end = time.monotonic() + seconds
        if self._again:
            self.results.forget(part)
        worker = Worker(work or _measure)
        ran, broken = 0, 0
        try:
            for job in jobs:
                known = self.results.of(part, job, table)
                measurements = [m for m in known if m["status"] != "not run"]
                if not measurements or len(measurements) < len(known):
                    put = partial(self.results.put, part, job, table=table)
                    measurements = run_job(job, worker, end - time.monotonic(), put, measurements)
                    put(measurements)
                    say(f"{part}: {job}: {summary(measurements)}")
                ran += all(m["status"] != "not run" for m in measurements)
                broken += sum(m["status"] in ("failed", "mismatch") for m in measurements)
        finally:
            worker.close()
        status = "failed" if broken else "ok" if ran == len(jobs) else "unfinished"
        return status, f"{ran} of {len(jobs)} jobs ran, {broken} results failed"


def _measure(request, report):
    from .measure import measure  # here, in the worker: it imports the package that was just built

    measure(*request, report)


def _measure_layouts(request, report):
    from .scans import measure_layouts

    measure_layouts(*request, report)


def _measure_operators(request, report):
    from .scans import measure_operators

    measure_operators(*request, report)


def _measure_exchange(request, report):
    from .exchange import measure_exchange

    measure_exchange(*request, report)


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
