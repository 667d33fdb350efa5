"""Checks and measures the CUDA kernels on this machine's GPU, in half an hour, without a network.

The parts run in this order, each row of them in a child process with a time limit:

    kernels     every kernel of a scan once, against float64 (pytest)
    images      whether the sampler draws a CPU's images in every way
    benchmarks  the rows of bench_diag.py and bench_row.py
    layouts     every layout of a scan (kernel, blocks, groups of warps) against the planner's choice
    constants   what the planners assume: a launch, an exchange between blocks, the sampler's operations
    tests       the other tests that need a GPU (pytest -m cuda)

A row that hangs, crashes or is wrong says so, and the next row runs in a fresh process. Each result is saved at once,
in a file of DIR that is named for the GPU, its driver, torch and the kernels' sources. A second call goes on with the
rows that lack a result. The table of costs that the layouts give is written beside it.

Exit status: 0 if all of ours was right, 1 if something of ours failed, 2 without a GPU, with kernels of other sources
or with wrong arguments, 130 after Ctrl-C.
"""

import argparse
import hashlib
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "build_tools"))

import bench_row  # noqa: E402
import pixelrnn_ext as px  # noqa: E402
import source_hash  # noqa: E402  (found on the path that is set above)
from bench_sampling import wrong_values  # noqa: E402
from harness import exchange  # noqa: E402
from harness.clocks import DeviceClock, kernel_microseconds, sm_megahertz  # noqa: E402
from kernel_costs import cost_table, measured  # noqa: E402
from pixelrnn_ext import sampling  # noqa: E402
from pixelrnn_ext.benchmark import device, diagonal, gpu  # noqa: E402
from pixelrnn_ext.benchmark.children import CANNOT_RUN, FAILED, OK, WRONG, Children, Ended  # noqa: E402
from pixelrnn_ext.benchmark.problems import worst_error  # noqa: E402
from pixelrnn_ext.benchmark.tables import grid, number  # noqa: E402
from pixelrnn_ext.benchmark.timing import progress  # noqa: E402
from pixelrnn_ext.incremental.block import ImageSampler  # noqa: E402
from pixelrnn_ext.incremental.rows import Rows  # noqa: E402
from pixelrnn_ext.incremental.steps import CellStep, Linear, Pointwise, Tap  # noqa: E402
from pixelrnn_ext.operators import library  # noqa: E402
from pixelrnn_ext.operators.scan.arguments import Scan as Arguments  # noqa: E402

# Parts: tests of the GPU

# GPUs before 8.0 have no resident kernels, only those of the step path.
KERNELS = "tests/scan/cuda/test_kernels.py", "tests/scan/cuda/test_step.py"
SANITIZER = "tests/scan/cuda/real_gpu/test_sanitizer.py"
TESTS = ["tests/scan/cuda", "tests/models/test_real_gpu.py"]


@dataclass(frozen=True)
class Tests:
    """Runs tests in pytest, with the output in a file."""

    arguments: tuple[str, ...]
    log: Path
    seconds: float

    def __str__(self) -> str:
        return shlex.join(["pytest", "-m", "cuda", *self.arguments])

    def measure(self, report: gpu.Report) -> None:
        command = [sys.executable, "-m", "pytest", "-m", "cuda", "-v", "-ra", "--no-header", *self.arguments]
        # Triton would choose tiles by timing, which differs from run to run. pytest shortens lines to COLUMNS.
        variables = {"PIXELRNN_TUNE_TILES": "0", "COLUMNS": "300"}
        # The tests look at the self-check themselves.
        inherited = {name: value for name, value in os.environ.items() if name != "PIXELRNN_SELF_CHECK"}
        report(note=f"see {self.log.name}, whose last line names the test that ran last")
        with self.log.open("w") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=inherited | variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                status, in_time = process.wait(0.9 * self.seconds), True
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # pytest then prints its report
                status, in_time = process.wait(), False
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing was printed"]
        failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        report(failed=failed)
        if not in_time and not failed:
            raise Ended(CANNOT_RUN, f"the time was over: {lines[-1].strip('= ')}; see {self.log.name}")
        if status or " passed" not in lines[-1]:
            raise Ended(FAILED, f"pytest ended with {status}: {lines[-1].strip('= ')}; see {self.log.name}")
        report(note=lines[-1].strip("= "))


# Part: the sampler's images

WAYS = "images", "stages", "pytorch"
LOGITS = 2e-6  # the largest allowed error of the logits, RMS over RMS


def build(name: str, on: str):
    torch.manual_seed(0)
    return (px.pretrained if name in px.models.PRETRAINED else px.from_name)(name).to(on)


@dataclass(frozen=True)
class Images:
    """Compares the images and logits that the sampler computes in one way with a CPU's logits of the same images."""

    model: str
    size: tuple[int, int, int]  # images, height and width
    way: str
    device: str = "cuda"
    seconds: float = 120.0

    def __str__(self) -> str:
        n, height, width = self.size
        return f"{self.model}, {n} images of {height} x {width}, {self.way}"

    def measure(self, report: gpu.Report) -> None:
        gpu.apply_precision("float32")
        n, height, width = self.size
        cpu, other = build(self.model, "cpu"), build(self.model, self.device)

        def draws(model):
            shape = model.image_channels, height, width
            return sampling.checked_draws(model, n, shape, torch.Generator().manual_seed(0), 1.0, None, None)

        def check_way(plan: sampling.SamplingPlan) -> None:
            if plan.way != self.way:
                raise Ended(CANNOT_RUN, "; ".join(plan.why_not) or str(plan))

        with torch.no_grad():
            start = time.perf_counter()
            got = sampling.incremental(other, draws(other), ways=(self.way,), on_plan=check_way).cpu()
            report(seconds=time.perf_counter() - start)
            logits = sampling.logit_map(other, got.to(self.device), ways=(self.way,)).cpu()
            exact, wrong = wrong_values(cpu.double(), draws(cpu), got)
        error, _ = worst_error({"logits": logits}, {"logits": exact})
        report(error=error, wrong=wrong)
        if wrong or not error <= LOGITS:
            what = f"{wrong} of {got.numel()} values are wrong"
            raise Ended(WRONG, f"{what}, and the logits have an error of {error:.1e}, allowed {LOGITS:.0e}")


# Part: the layouts of a scan

MAX_GROUPS, HOPELESS = 8, 3
BLOCKS = {"single": (1,), "cluster": (2, 4, 8), "images": (8,)}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
TOLERANCES = {"bf16": 2e-2, "fp16": 1e-2, "tf32": 1e-2, "fp32": 1e-5}


@dataclass(frozen=True)
class Scan:
    """A scan of one or both directions of a Diagonal BiLSTM, forward or backward."""

    size: tuple[int, int, int, int]  # batch, height, width, hidden
    directions: int
    format: str
    backward: bool

    def __str__(self) -> str:
        batch, height, width, hidden = self.size
        name = f"{self.directions} x diagonal B{batch} {height}x{width} h{hidden}"
        return f"{name} {self.format}, {'backward' if self.backward else 'forward'}"

    def plan(self, path: str, capability: int = 0, ops=None) -> str:
        """Returns the planner's text. The capability 0 means that of the GPU."""
        sizes = self.directions, *self.size, 2, True
        ops = ops or torch.ops.pixelrnn_ext
        if capability:
            return ops.describe_plan(*sizes, self.format, capability, path)[self.backward]
        return ops.describe_current_plan(*sizes, self.format, path)[self.backward]

    def layouts(self, capability: int = 0, ops=None) -> list[str]:
        """Returns "step" and a path for each layout that fits, the planner's choice first.

        The path "resident:2_1_256:1:4" names the kernel, the blocks of a cluster, and the groups of warps.
        """
        chosen, found = self.plan("auto", capability, ops), {}
        for kernel in (row.kernel for row in cost_table.read().rows):
            scan, format, suffix = kernel.split("_", 2)
            suffix, _, kind = suffix.rpartition("_")
            suffix += "_images" if kind == "images" else ""
            if (scan, format) == ("backward" if self.backward else "forward", self.format):
                for blocks in BLOCKS[kind]:
                    for groups in range(1, MAX_GROUPS + 1):
                        path = f"resident:{suffix}:{blocks}:{groups}"
                        plan = self.plan(path, capability, ops)
                        if plan.startswith(f"{kernel}:") and plan not in found.values():
                            found[path] = plan
        found["step"] = chosen if chosen.startswith("step path") else "step path"
        return sorted(found, key=lambda path: found[path] != chosen)


class Tensors:
    """The tensors of a scan, and what the step path computes from them. The benchmarks compare it with float64."""

    def __init__(self, scan: Scan, on: str, ops) -> None:
        (batch, height, width, hidden), dtype = scan.size, DTYPES[scan.format]
        self.scan, self._ops, tf32 = scan, ops or torch.ops.pixelrnn_ext, scan.format == "tf32"
        torch.manual_seed(0)
        with torch.device(on):
            x = torch.randn(scan.directions, batch, height, width, 4 * hidden, dtype=dtype)
            weight = torch.randn(scan.directions, 2, hidden, 4, hidden, dtype=dtype) / (2 * hidden) ** 0.5
            self._dh = torch.randn(batch, height, width, scan.directions, hidden, dtype=dtype)
        rest = None, list(range(scan.directions)), True, 1, "pixelrnn", "none"
        self._arguments = lambda path: Arguments(None, None, None, x, weight, None, None, None, *rest, path, tf32)
        _, *self._kept = self._ops.recurrence(*self._arguments("step"))
        self.expected = self.run("step")
        self.best = math.inf  # microseconds

    def run(self, path: str) -> torch.Tensor:
        arguments = self._arguments(path)
        if self.scan.backward:
            return self._ops.recurrence_backward(self._dh, *self._kept, *arguments)[0]
        return self._ops.recurrence(*arguments)[0]


_tensors = lru_cache(maxsize=1)(Tensors)  # the layouts of a scan follow each other


@dataclass(frozen=True)
class Layout:
    scan: Scan
    path: str
    device: str = "cuda"
    ops: object = None
    seconds: float = gpu.SECONDS

    def __str__(self) -> str:
        return f"{self.scan}, {self.path}"

    def measure(self, report: gpu.Report) -> None:
        gpu.apply_precision("tf32" if self.scan.format == "tf32" else "float32")
        tensors, chosen = _tensors(self.scan, self.device, self.ops), self.scan.plan("auto", ops=self.ops)
        # The planner's text for the path "step" is that for "auto".
        is_step, plan = self.path == "step", self.scan.plan(self.path, ops=self.ops)
        report(plan="step path" if is_step else plan)
        report(chosen=chosen.startswith("step path") if is_step else plan == chosen)
        report(size=self.scan.size, directions=self.scan.directions, format=self.scan.format)
        report(
            error=gpu.check({"scan": tensors.run(self.path)}, {"scan": tensors.expected}, TOLERANCES[self.scan.format])
        )
        if self.device == "cpu":
            return
        run = partial(tensors.run, self.path)
        called = 1e6 * gpu.called_seconds(run)
        if called > HOPELESS * tensors.best:
            report(call_us=called, note=f"more than {HOPELESS} times the best: called once")
            return
        clock = DeviceClock(calls=5)
        device_us = 1e6 * min(clock(run) for _ in range(3))
        called = 1e6 * min(gpu.called_seconds(run, 5) for _ in range(3))
        tensors.best = min(tensors.best, called)
        report(call_us=called, device_us=None if run in clock.bounds else device_us, mhz=sm_megahertz())
        report(times=kernel_microseconds(run))


# Part: the constants of the planners

LAUNCH_US = 3.0  # as csrc/cuda/scan/plan.h assumes
# Cycles of an operation of the sampler, modelled from machine code (docs/sampling.md), and of an exchange, assumed.
MODELLED, EXCHANGE = {"cell": 984, "linear": 648}, 225
# The width and height of the images that measure the time of one operation. The network that draws them is a chain of
# such operations.
WIDTH, HEIGHT = 128, 16


class Chain:
    """A network that consists of given operations on a pixel."""

    def __init__(self, rows: Rows, steps: list) -> None:
        self.rows, self._steps, self.before_row, self.after_row = rows, steps, [], []

    def steps(self, colour: int) -> list:
        return self._steps

    def mirrored_steps(self) -> list:
        return []


def chain(kind: str, hidden: int, length: int, blocks: int, on: str) -> ImageSampler:
    """Returns a sampler of a chain of ``length`` operations, each of which reads the output of the one before.

    An operation is either an LSTM cell with two inputs, or a linear map that is followed by two pointwise operations.
    """
    rows = Rows(1, WIDTH, 1, torch.float32, torch.device(on))
    steps, x = [], rows.buffer(hidden).normal_()
    for _ in range(length):
        output, y, z = (rows.buffer(hidden) for _ in range(3))
        if kind == "cell":
            # The weights of two cells with many hidden units must fit in the shared memory of one thread block.
            channels = min(hidden, 32)
            weights = torch.randn(2, channels, 4 * hidden, device=on) / hidden
            taps = [Tap(x, 0, channels, weights[0]), Tap(z, -1, channels, weights[1])]
            steps.append(CellStep(taps, rows.buffer(4 * hidden), y, -1, y, z, x, output, 0, hidden))
        else:
            taps = [Tap(x, 0, hidden, torch.randn(hidden, hidden, device=on) / hidden)]
            steps.append(Linear(taps, rows.buffer(hidden), y, 0, hidden, False))
            steps += [Pointwise(y, x, z, 0, hidden, True), Pointwise(z, None, output, 0, hidden, True)]
        x = output
    sampler = ImageSampler(Chain(rows, steps[:-1]), steps[-1:], HEIGHT, blocks)
    if sampler.why_not is not None:
        raise Ended(CANNOT_RUN, sampler.why_not)
    return sampler


def step_cycles(kind: str, hidden: int, blocks: int, on: str = "cuda") -> dict:
    """Returns the cycles that a longer chain takes beyond a shorter one, for each operation and pixel."""

    def seconds(length: int) -> float:
        sampler = chain(kind, hidden, length, blocks, on)
        maps = torch.zeros(1, 0, HEIGHT, WIDTH, dtype=torch.float64, device=on)
        run = lambda: list(sampler.draw(maps, maps.bool(), maps.long(), None))  # noqa: E731
        run()
        return min(gpu.called_seconds(run) for _ in range(3))

    length = 4 if hidden <= 16 else 1
    with torch.no_grad():
        one = (seconds(2 * length) - seconds(length)) / (length * WIDTH * HEIGHT)
    return {"measured": 1e6 * (sm_megahertz() or math.nan) * one}


@dataclass(frozen=True)
class Constant:
    """Measures a number that a planner assumes. ``function(*arguments)`` returns it as "measured"."""

    name: str
    unit: str
    function: Callable[..., dict]
    arguments: tuple = ()
    expected: float | None = None
    seconds: float = gpu.SECONDS

    def __str__(self) -> str:
        return self.name

    def measure(self, report: gpu.Report) -> None:
        report(unit=self.unit, expected=self.expected)
        report(**self.function(*self.arguments))


CONSTANTS = [
    Constant("a launch", "us", exchange.launch, expected=LAUNCH_US),
    *(Constant(f"exchange, {name}", "cycles a line", exchange.exchange, (name,)) for name in exchange.EXCHANGES),
    *(
        Constant(
            f"sampler, {kind} h{hidden}, {'a block' if blocks == 1 else f'{blocks} blocks'}",
            "cycles a step",
            step_cycles,
            (kind, hidden, blocks),
            MODELLED[kind] + EXCHANGE * (blocks > 1),
        )
        for kind in MODELLED
        for hidden, blocks in ((16, 1), (64, 1), (16, 8))
    ),
]

# The day

MAPS = [(28, 28, 16), (28, 28, 64), (32, 32, 128)]
SCANS = [
    Scan((batch, *sizes), directions, format, backward)
    for format in ("bf16", "tf32")
    for batch, directions in ((256, 2), (16, 1))
    for backward in (False, True)
    for sizes in MAPS
]
MODELS = {
    **{f"mnist5k-{layer}": [(n, 28, 28) for n in (1, 4, 64, 500)] for layer in ("diagonal", "row", "pixelcnn")},
    **{f"cifar10-{layer}": [(n, 3, 32) for n in (1, 4)] for layer in ("row", "diagonal", "pixelcnn")},
}
# {part: the most minutes of a call for it}
PARTS = {"kernels": 4.0, "images": 3.0, "benchmarks": 5.0, "layouts": 8.0, "constants": 2.0, "tests": 6.0}


def tasks_of(part: str, out: Path, capability: int) -> Iterable:
    if part == "kernels":
        yield Tests(KERNELS, out / "kernels.log", 240.0)
    elif part == "images":
        yield from (Images(name, size, way) for name, sizes in MODELS.items() for size in sizes for way in WAYS)
    elif part == "benchmarks":
        yield from gpu.rows([*diagonal.GPU_CASES, *bench_row.GPU_CASES], full=False)
    elif part == "layouts" and library.why_no_planner() is None:
        yield from (Layout(scan, path) for scan in SCANS for path in scan.layouts(capability))
    elif part == "constants":
        yield from CONSTANTS
    elif part == "tests":
        ignored = [f"--ignore={path}" for path in (*KERNELS, SANITIZER)]
        yield Tests((*TESTS, *ignored), out / "tests.log", 360.0)


class Results:
    """The results on one GPU with one driver, torch and csrc. ``rows`` is {part: {task: outcome}}."""

    def __init__(self, path: Path) -> None:
        self.path, self.facts, self.rows = path, {}, {}
        if path.exists():
            try:
                data = json.loads(path.read_text())
                self.facts, self.rows = data["facts"], data["rows"]
            except (ValueError, LookupError, TypeError) as error:
                raise ValueError(f"expected results in {path}, got a damaged file ({error}): move it away") from error

    @staticmethod
    def of(folder: Path, facts: dict) -> "Results":
        names = "gpu", "driver", "torch", "csrc"
        identity = hashlib.sha256(json.dumps([facts.get(name) for name in names]).encode()).hexdigest()[:8]
        name = re.sub(r"\W+", "_", facts["gpu"]).strip("_").lower()
        results = Results(folder / f"results_{name}_{identity}.json")
        results.facts = facts | {"date": time.strftime("%Y-%m-%d")}
        return results

    def save(self, part: str, task: object, outcome: dict) -> None:
        """Replaces the file by another one, so that a crash loses no result."""
        self.rows.setdefault(part, {})[str(task)] = outcome
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps({"facts": self.facts, "rows": self.rows}, indent=1) + "\n")
        os.replace(draft, self.path)

    def failed(self) -> list[str]:
        """Returns a line for each row of ours that failed."""
        return [
            f"{part}: {task}: {outcome['status']}, {outcome['note']}"
            for part, rows in self.rows.items()
            for task, outcome in rows.items()
            if outcome.get("is_failure", outcome["status"] in (FAILED, WRONG))
        ]


def run_part(part: str, tasks: Iterable, results: Results, children: Children, end: float) -> None:
    more = gpu.FIRST_OF_OURS  # the first call of a kernel may compile it
    for task in tasks:
        if str(task) in results.rows.get(part, {}) or time.monotonic() > end:
            continue
        with progress(f"{part}: {task}"):
            first_of_ours = more if getattr(task, "is_ours", not isinstance(task, Tests)) else 0.0
            outcome = children.run(task, first_of_ours)
        more -= first_of_ours
        if isinstance(task, gpu.Row):
            outcome["is_failure"] = bool(gpu.failed({task: outcome}))
        results.save(part, task, outcome)


def write_costs(results: Results) -> str:
    path = results.path.with_name(results.path.stem.replace("results", "costs") + ".h")
    layouts = [{"provider": task, **outcome} for task, outcome in results.rows.get("layouts", {}).items()]
    return measured.write_costs(path, results.facts["gpu"], results.facts["multiprocessors"], layouts)


# The report


def report(results: Results, tasks: dict[str, list]) -> str:
    """Returns the results as text. ``tasks`` are those of each part, of which the results may lack some."""
    facts = "\n".join(f"- {name}: {value}" for name, value in results.facts.items())
    rows = results.rows
    missing = {part: sum(str(task) not in rows.get(part, {}) for task in tasks[part]) for part in tasks}
    left_out = "; ".join(f"{part} lacks {count} of {len(tasks[part])} rows" for part, count in missing.items() if count)
    times = rows.get("benchmarks", {})
    timed = {row: times[str(row)] for row in tasks["benchmarks"] if str(row) in times}
    three = "{:.3g}".format
    sections = {
        "Failed": "\n".join(f"- {line}" for line in results.failed()) or "Nothing.",
        "Not measured": f"{left_out}. The same command goes on." if left_out else "Nothing was left out.",
        "Tests": _lines(rows.get("kernels", {}) | rows.get("tests", {}), {"note": str}),
        "Images": _lines(rows.get("images", {}), {"error": "{:.0e}".format, "seconds": three}),
        "Layouts": layouts_table(rows.get("layouts", {})),
        "Constants": _lines(rows.get("constants", {}), {"measured": three, "expected": three, "unit": str}),
        "Benchmarks": "\n\n".join(gpu.pages(timed, markdown=True)) or "None.",
    }
    return f"# PixelRNN kernels on a GPU\n\n{facts}\n\n" + "".join(
        f"## {title}\n\n{text}\n\n" for title, text in sections.items()
    )


def _lines(rows: dict[str, dict], columns: dict[str, Callable]) -> str:
    def cell(outcome: dict, name: str) -> str:
        value = outcome.get(name)
        return "-" if value is None else columns[name](value)

    lines = [
        [task, outcome["status"], *(cell(outcome, name) for name in columns)]
        + [outcome.get("note", "")] * ("note" not in columns)
        for task, outcome in rows.items()
    ]
    header = ["what", "status", *columns, *["note"] * ("note" not in columns)]
    return grid(header, lines, True, drop_empty=True) if lines else "None."


def cost_us(outcome: dict) -> float:
    """Returns the microseconds of packing and scan, or of the whole call if the profiler missed the kernels."""
    scan = measured.scan_us(outcome)
    return outcome["call_us"] if scan is None else scan + (measured.pack_us(outcome) or 0)


def layouts_table(rows: dict[str, dict]) -> str:
    """Returns a line for each scan: the fastest layout, and how much slower the planner's choice is."""
    by_scan: dict[str, dict] = {}
    for task, outcome in rows.items():
        if outcome["status"] == OK and "call_us" in outcome:
            scan, _, path = task.rpartition(", ")
            by_scan.setdefault(scan, {})[path] = outcome
    lines = []
    for scan, found in by_scan.items():
        best, chosen = min(found, key=lambda path: cost_us(found[path])), [p for p in found if found[p]["chosen"]]
        plan = measured.parse_plan(found[chosen[0]]["plan"]) if chosen else None
        times = [cost_us(found[path]) for path in (best, *chosen[:1])]
        ratio = times[1] / times[0] if chosen else None
        lines.append([scan, best, number(times[0], ".1f"), *(chosen[:1] or ["-"]), number(ratio, ".2f")])
        lines[-1].append(number(plan and plan.microseconds, ".1f"))
    header = ["scan", "fastest layout", "us", "the planner's", "over the fastest", "us expected of it"]
    return grid(header, lines, True) if lines else "None."


# The command


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="only print the reports of the results in DIR")
    parser.add_argument("--only", metavar="PART[,PART]", help="run these parts alone, and again")
    options = parser.parse_args(argv)
    options.parts = options.only.split(",") if options.only else list(PARTS)
    for name in options.parts:
        if name not in PARTS:
            parser.error(f"argument --only: expected some of {', '.join(PARTS)}, got {name!r}")
    return options


def refuse(why: object) -> int:
    print(f"bench_gpu: {why}", file=sys.stderr)
    return 2


def all_tasks(out: Path, facts: dict) -> dict[str, list]:
    capability = int(facts["capability"].replace(".", ""))
    return {part: list(tasks_of(part, out, capability)) for part in PARTS}


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    if options.report:
        try:
            found = [Results(path) for path in sorted(options.out.glob("results_*.json"))]
        except ValueError as error:
            return refuse(error)
        for results in found:
            print(report(results, all_tasks(options.out, results.facts)))
        return 0 if found else refuse(f"expected earlier results in {options.out}, got none")
    with Children() as children:
        try:
            device.choose("cuda")
            facts = device.gpu_facts(children)
            expected = source_hash.hash_of(ROOT / "csrc")
            if why := facts.pop("why_no_gpu"):
                raise ValueError(why)
            if facts["csrc"] != expected:
                raise ValueError(f"expected kernels of this csrc ({expected}), got {facts['csrc']}: pip install .")
            options.out.mkdir(parents=True, exist_ok=True)
            results = Results.of(options.out, facts)
        except (ValueError, OSError) as error:
            return refuse(error)
        print(f"device: {device.describe_gpu(facts, 'there is a GPU')}", flush=True)
        tasks = all_tasks(options.out, facts)
        for part in options.parts if options.only else ():
            results.rows.pop(part, None)
        try:
            for part in options.parts:
                run_part(part, tasks[part], results, children, time.monotonic() + 60 * PARTS[part])
        except KeyboardInterrupt:
            print("bench_gpu: interrupted; the same command goes on", file=sys.stderr)
            return 130
        finally:
            if results.rows:
                print(report(results, tasks))
    if "layouts" in results.rows:
        print(write_costs(results))
    return 1 if results.failed() else 0


if __name__ == "__main__":
    # SIGTERM raises KeyboardInterrupt, which also ends the child processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
