"""All that a GPU is needed for, in one command, what tells most first:

    build, a check of every kernel (half a minute), every layout of the small scans, microbenchmarks, the operators
    one by one, the small benchmarks, the other tests, the large benchmarks, plots, a verdict against the floors, and
    compute-sanitizer

    python -m benchmarks.gpu_day --out DIR

from the root of the repository, offline, in 9 minutes. DIR gets results.json, with everything (after every case, so
that an interrupted run loses nothing), the logs and two plots. The report is printed; --only verdict prints it again.
Exit status: 0 when everything ran, whatever the verdict; 1 when something failed; 2 without a GPU or with wrong
arguments; 130 after Ctrl-C.
"""

import argparse
import datetime
import json
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from . import commands, costs, micro, pytest_runs, report
from .clock import Sampler
from .jobs import LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS, Job, ScanJob
from .results import Results
from .verdict import LOOP, counts, verdicts
from .worker import Gone, TimedOut, Worker

ROOT = Path(__file__).resolve().parents[2]

# Seconds that a part gets at most, and that earlier parts leave to it at least.
PARTS = {
    "build": (240, 0),
    "check": (60, 30),
    "layouts": (90, 25),
    "micro": (45, 15),
    "operators": (40, 10),
    "small": (200, 35),
    "tests": (150, 40),
    "large": (150, 0),
    "plots": (20, 10),
    "verdict": (5, 5),
    "sanitizer": (180, 45),
}
WHAT = {
    "build": "the kernels for this card, where the installed ones are for others",
    "check": "every kernel once, against float64",
    "layouts": "every layout of the small scans: which is the fastest, and which the planner takes",
    "micro": "cycles of barriers, transfers and instructions: the constants of the model",
    "operators": "the operators of a scan by kernels: packing, scan, weight gradient; the step path; CUDA graphs",
    "small": "the small benchmarks, against the loops, the floors and cuDNN",
    "tests": "the other tests on a GPU",
    "large": "the large benchmarks, and torch.compile of the loop",
    "plots": "of the benchmarks",
    "verdict": "what is demanded of the measurements",
    "sanitizer": "compute-sanitizer's memcheck, synccheck and racecheck",
}
NEED_A_GPU = PARTS.keys() - {"plots", "verdict"}
CLOCKED = ("layouts", "micro", "operators", "small", "large")
LEAST = 4.0  # minutes
START = 20.0  # seconds that a job is given more, for the start of its process

PROBE = """
import json, torch
facts = {"torch": torch.__version__, "CUDA": torch.version.cuda, "card": None}
if torch.cuda.is_available():
    properties = torch.cuda.get_device_properties(0)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    facts |= {"card": f"{properties.name}, {memory}", "multiprocessors": properties.multi_processor_count}
    facts |= {"architecture": f"{properties.major}.{properties.minor}", "cuDNN": torch.backends.cudnn.version()}
try:
    from pixelrnn_ext import build_config
    config = build_config()
except Exception as error:
    config = {"cuda_archs": None, "why_no_cuda": f"pixelrnn_ext cannot be imported: {error}"}
print(json.dumps([facts, config]))
"""


class Budget:
    """Divides the time of a run over its parts; what one leaves, the later ones have."""

    def __init__(self, seconds: float, parts: list[str], clock: Callable[[], float] = time.monotonic):
        self._clock, self._parts, self._end = clock, parts, clock() + seconds

    def left(self) -> float:
        return self._end - self._clock()

    def of(self, part: str) -> float:
        """Seconds for a part that begins now."""
        later = self._parts[self._parts.index(part) + 1 :]
        return max(0.0, min(PARTS[part][0], self.left() - sum(PARTS[name][1] for name in later)))


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
        facts, config = probe(self.out)
        reason = why_build(facts, config)
        if reason is None:
            return "ok", f"the installed kernels are for {config['cuda_archs']}"
        say(f"build: {reason}")
        command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
        environment = {"PIXELRNN_CUDA": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        status = commands.run(command, self.out / "build.log", seconds, ROOT, grace=2, **environment)
        if status is None:
            return "failed", f"stopped after {seconds:.0f} s; see build.log"
        still = why_build(*probe(self.out))
        if status or still:
            return "failed", f"pip ended with exit status {status}, and {still or 'the kernels load'}; see build.log"
        return "ok", f"built, since {reason}"

    def check(self, seconds: float) -> tuple[str, str]:
        return self._pytest("check", pytest_runs.CHECK, seconds)

    def tests(self, seconds: float) -> tuple[str, str]:
        return self._pytest("tests", pytest_runs.OTHERS, seconds)

    def sanitizer(self, seconds: float) -> tuple[str, str]:
        each = (seconds - commands.GRACE - START) / pytest_runs.TOOLS  # a tool that takes longer is skipped
        limit = {"PIXELRNN_SANITIZER_SECONDS": f"{max(1.0, each):.0f}"}
        return self._pytest("sanitizer", pytest_runs.SANITIZER, seconds, **limit)

    def _pytest(self, part: str, selection: list[str], seconds: float, **environment: str) -> tuple[str, str]:
        log, limit = self.out / f"{part}.log", max(1.0, seconds - commands.GRACE)
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [sys.executable, "-m", "pytest", "-m", "cuda", "-ra", "-q", f"--junitxml={report}"]
            command += ["--continue-on-collection-errors", *selection]  # of other modules
            # Tiles that are measured would be others in every run.
            status = commands.run(command, log, limit, ROOT, PIXELRNN_TUNE_TILES="0", **environment)
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
        micro.measure(architecture, self.out / "micro.log", seconds, report)
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


def run_job(job: Job | ScanJob, worker: Worker, seconds: float, keep: Callable[[list[dict]], None]) -> list[dict]:
    """A result for each provider of the job, however it goes. ``seconds`` are left. Ctrl-C keeps what is there."""

    def result(provider, status, note):
        return {"case": job.case, "precision": job.precision, "provider": provider, "status": status, "note": note}

    if seconds < job.seconds:
        note = f"{max(0.0, seconds):.0f} s left, it is given {job.seconds:.0f} s"
        return [result(LOOP + ", compiled" if job.compiled else None, "not run", note)]
    end, found, providers = time.monotonic() + seconds, {}, []
    while True:
        running = None
        left = end - time.monotonic()
        limit = min(left, 2 * job.seconds + START)
        try:
            for event in worker.ask((job, set(found)), limit):
                providers = providers or event.get("providers", [])
                running = event.get("running", running)
                if "provider" in event:
                    found[event["provider"]] = {**result(None, None, ""), **event}
        except KeyboardInterrupt:
            keep(list(found.values()))
            raise
        except Gone as error:
            if isinstance(error, TimedOut) and limit == left:
                rest = [name for name in providers if name not in found] or [None]
                found |= {name: result(name, "not run", f"the time ran out: {error}") for name in rest}
            elif running in found or running is None:
                rest = [name for name in providers if name not in found] or [None] * (not providers)
                found |= {name: result(name, "failed", str(error)) for name in rest}
            else:
                found[running] = result(running, "failed", str(error))
                if end - time.monotonic() >= job.seconds:
                    continue
                rest = [name for name in providers if name not in found]
                found |= {name: result(name, "not run", "no time to start again") for name in rest}
        return [m for name, m in found.items() if not (job.compiled and name == LOOP)]


def why_build(facts: dict, config: dict) -> str | None:
    """None where the installed kernels are for this card."""
    if config["why_no_cuda"]:
        return config["why_no_cuda"]
    built = (config["cuda_archs"] or "").replace("+PTX", "").split(";")
    if facts["architecture"] not in built:
        return f"expected kernels for architecture {facts['architecture']}, got {config['cuda_archs']}"
    return None


def closing_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip("= ") if lines else "nothing"


def summary(measurements: list[dict]) -> str:
    statuses = [m["status"] for m in measurements]
    bad = [m for m in measurements if m["status"] in ("failed", "mismatch", "not run")]
    notes = [f"{m['provider'] or 'all'}: {m['note']}" for m in bad]
    return "; ".join([", ".join(f"{statuses.count(s)} {s}" for s in dict.fromkeys(statuses)), *notes])


def probe(folder: Path) -> tuple[dict, dict]:
    """What a fresh process sees of the card and of the installed package."""
    # In a folder of no package: -c looks for modules in the current one.
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["the probe of the card said nothing"])[-1])
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def environment(facts: dict, argv: list[str]) -> dict[str, str | None]:
    driver = output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    changed = output("git", "-C", str(ROOT), "status", "--porcelain")
    commit = output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    return {
        "card": facts["card"],
        "driver": driver and driver.splitlines()[0],
        **{name: facts[name] for name in facts if name != "card"},
        "Python": platform.python_version(),
        "commit": commit and commit + ", with changes" * bool(changed),
        "command": shlex.join(["python", "-m", "benchmarks.gpu_day", *argv]),
        "date": datetime.date.today().isoformat(),
    }


def output(*command: str) -> str | None:
    """What a command prints; None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class List(argparse.Action):
    """Needs no other argument, as --help."""

    def __init__(self, **options):
        super().__init__(nargs=0, **options)

    def __call__(self, parser, *_):
        for name, (most, _) in PARTS.items():
            print(f"{name:10} {most:4} s  {WHAT[name]}")
        parser.exit()


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_day", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="created where it is missing")
    parser.add_argument("--only", metavar="PART[,PART]", help="these parts alone; DIR's other results are kept")
    parser.add_argument("--list", action=List, help="print the parts, and the seconds that each may take, and end")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything (default: %(default)g)")
    options = parser.parse_args(argv)
    wanted = list(PARTS) if options.only is None else options.only.split(",")
    for name in wanted:
        if name not in PARTS:
            parser.error(f"argument --only: expected some of {', '.join(PARTS)}, got {name!r}")
    options.parts = [name for name in PARTS if name in wanted]
    if not options.minutes >= LEAST:
        parser.error(f"argument --minutes: expected at least {LEAST:g}, got {options.minutes:g}")
    try:
        options.out = options.out.resolve()
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --out: cannot create {options.out}: {error.strerror}")
    return options


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    options = parse(argv)
    budget = Budget(60 * options.minutes - 10, options.parts)
    try:
        results = Results(options.out, keep=options.only is not None)
    except ValueError as error:
        say(f"gpu_day: expected JSON in {options.out / 'results.json'}, got {error}")
        return 2
    if not NEED_A_GPU & set(options.parts) and not results.data["environment"]:
        say(f"gpu_day: expected earlier results in {options.out / 'results.json'}, got none.")
        return 2
    day = Day(options, budget, results)
    try:
        if NEED_A_GPU & set(options.parts):
            facts, _ = probe(options.out)
            if facts["card"] is None:
                say(f"gpu_day: expected a GPU with CUDA, got none that torch {facts['torch']} can use.")
                return 2
            start_with(results, environment(facts, argv))
        for name in PARTS:
            if name not in results.data["parts"]:
                results.part(name, "not run", "" if name in options.parts else "--only left it out")
        for name in options.parts:
            day.run(name)
    except KeyboardInterrupt:
        say("gpu_day: interrupted")
        return 130
    finally:
        if results.data["environment"]:
            results.verdicts(verdicts(results.data["measurements"]))
            print(report.markdown(results.data))
    return 1 if day.failed or results.unsaved else 0


def start_with(results: Results, facts: dict) -> None:
    """Results of another card or source are not mixed with this run's."""
    same = ("card", "torch", "commit")
    if any(results.data["environment"].get(name) != facts[name] for name in same):
        results.clear()
    results.data["environment"] = facts
    results.save()
