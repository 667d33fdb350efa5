"""Runs all tests and benchmarks that need a GPU, in sessions of limited time."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import BUILT_IN_PLACE, ROOT, card, child, costs
from .child import say
from .jobs import JOBS
from .results import Results


class Part(NamedTuple):
    max_seconds: int
    reserved_seconds: int  # time that earlier parts of the session must leave for this part
    description: str


PARTS = {
    "build": Part(240, 0, "the kernels of this checkout for this card, if others are installed"),
    "sampling": Part(240, 110, "the sampler: whether every way draws a CPU's images, and what its planner assumes"),
    "check": Part(100, 100, "every kernel once, against float64"),
    "layouts": Part(390, 60, "every layout of the small scans: which is the fastest, and which the planner takes"),
    "exchange": Part(40, 20, "a line's exchange between blocks of a cluster, and a launch: constants of the planner"),
    "operators": Part(60, 20, "a scan's operators by kernel: packing, scan, weight gradient; step path; CUDA graphs"),
    "small": Part(300, 100, "the small benchmarks, against the loops, the floors and cuDNN"),
    "large": Part(240, 0, "the large benchmarks, and torch.compile of the loop"),
    "tests": Part(150, 50, "the other tests on a GPU"),
    "sanitizer": Part(450, 220, "compute-sanitizer's memcheck, synccheck and racecheck"),
}
# Each session begins with the part "build", so that the other parts measure the kernels of this checkout.
SESSIONS = {
    1: ["build", "sampling", "check", "layouts", "exchange"],
    2: ["build", "operators", "small", "large"],
    3: ["build", "tests", "sanitizer"],
}
SCANS, MODELS = "tests/scan/cuda", "tests/models/test_card.py"
KERNELS, SANITIZER = f"{SCANS}/test_kernels.py", f"{SCANS}/card/test_sanitizer.py"
CHECK = [KERNELS, f"{SCANS}/card/test_scan.py::test_a_masked_convolution", f"{MODELS}::test_a_training_step"]
TESTS = {
    "check": CHECK,
    "tests": [SCANS, MODELS, *(f"--deselect={test}" for test in CHECK), f"--ignore={SANITIZER}"],
    "sanitizer": [SANITIZER],
}
TOOLS = 3
NO_TESTS = 5  # pytest's exit status if it found no tests


class Budget:
    """Divides a session's time among its parts. The time that a part does not use goes to the later parts."""

    def __init__(self, seconds: float, parts: list[str], clock: Callable[[], float] = time.monotonic):
        self._clock, self._parts, self._end = clock, parts, clock() + seconds

    def seconds_left(self) -> float:
        return self._end - self._clock()

    def seconds_for(self, part: str) -> float:
        later = self._parts[self._parts.index(part) + 1 :]
        reserved = sum(PARTS[name].reserved_seconds for name in later)
        return max(0.0, min(PARTS[part].max_seconds, self.seconds_left() - reserved))


class Day:
    def __init__(self, out: Path, results: Results):
        self.out, self.results = out, results
        self.failed = False

    def record(self, part: str, status: str, note: str, **facts) -> None:
        self.failed |= status == "failed"
        self.results.set_part(part, status, note, **facts)
        say(f"{part}: {status}" + f", {note}" * bool(note))
        if self.results.unsaved:
            say(f"gpu_day: {self.results.unsaved}")

    def session(self, parts: list[str], budget: Budget, again: bool = False) -> bool:
        """Runs a session's unfinished parts, or all parts if ``again``. Returns False at once if the build fails."""
        for part in parts:
            if again:
                self.results.forget(part)
            if again or part == "build" or self.results.data["parts"][part]["status"] != "ok":
                self.run(part, budget.seconds_for(part))
            if part == "build" and self.results.data["parts"][part]["status"] == "failed":
                for name in parts[1:]:
                    if self.results.data["parts"][name]["status"] != "ok":
                        self.record(name, "not run", "the build failed")
                return False
        return True

    def run(self, part: str, seconds: float) -> None:
        self.results.set_part(part, "interrupted", "")
        work = {"build": self.build, **dict.fromkeys(TESTS, self.test), **dict.fromkeys(JOBS, self.measure)}[part]
        start = time.monotonic()
        try:
            status, note, *failed = work(part, seconds)
        except Exception as error:
            status, note, failed = "failed", child.first_line(error), []
        self.record(part, status, f"{note}; {time.monotonic() - start:.0f} s", failed=failed)

    def build(self, part: str, seconds: float) -> tuple[str, ...]:
        _, config = card.probe(self.out)
        reason = card.why_unusable(config)
        if reason is None:
            return "ok", f"the installed kernels run on this card: {card.describe_kernels(config)}"
        say(f"build: {reason}")
        command = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
        if BUILT_IN_PLACE:
            command = ["setup.py", "build_ext", "--inplace"]
        environment = {"PIXELRNN_CUDA": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        status = child.run([sys.executable, *command], self._log(part), seconds, ROOT, grace=2, **environment)
        if status is None:
            return "failed", f"stopped after {seconds:.0f} s; see build.log"
        _, config = card.probe(self.out)
        self.results.data["environment"]["kernels"] = card.describe_kernels(config)
        still = card.why_unusable(config)
        if status or still:
            return "failed", f"exit status {status}, and {still or 'the kernels run'}; see build.log"
        return "ok", f"built {card.describe_kernels(config)}, since {reason}"

    def test(self, part: str, seconds: float) -> tuple[str, ...]:
        """Runs pytest on TESTS[part]. Returns the status, a note, and a line for each failed test."""
        limit = max(1.0, seconds - child.GRACE)
        environment = {
            "COLUMNS": "300",  # otherwise pytest shortens its lines
            "PIXELRNN_TUNE_TILES": "0",  # Triton would choose tiles by timing, which differs from run to run
            # test_sanitizer.py stops each tool of compute-sanitizer after this many seconds, and reports the stopped
            # test as skipped.
            "PIXELRNN_SANITIZER_SECONDS": f"{max(1.0, (limit - child.START) / TOOLS):.0f}",
        }
        command = [sys.executable, "-m", "pytest", "-m", "cuda", "-ra", "-q", "--durations=10"]
        command += ["--continue-on-collection-errors", *TESTS[part]]
        status = child.run(command, self._log(part), limit, ROOT, **environment)
        lines = self._log(part).read_text(errors="replace").strip().splitlines() or ["nothing"]
        skipped = [line for line in lines if line.startswith("SKIPPED ")]
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        note = "; ".join([lines[-1], *skipped])
        if status is None:
            return "failed", f"stopped after {limit:.0f} s; {note}", *failed
        if status not in (0, NO_TESTS):
            return "failed", note, *failed
        return "ok" if " passed" in lines[-1] else "not run", note

    def measure(self, part: str, seconds: float) -> tuple[str, ...]:
        jobs = JOBS[part]
        child.run_jobs(part, jobs, self.results, seconds)
        ran = sum(self.results.is_finished(part, job) for job in jobs)
        broken = sum(m["status"] in ("failed", "mismatch") for m in self.results.select(part))
        status = "failed" if broken else "ok" if ran == len(jobs) else "unfinished"
        note = f"{ran} of {len(jobs)} jobs ran, {broken} results failed"
        if part == "layouts":
            note += f"; {costs.write_costs(self.out, self.results.data['environment'], self.results.select(part))}"
        return status, note

    def _log(self, part: str) -> Path:
        return self.out / f"{part}.log"
