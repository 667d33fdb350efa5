"""The cases of the benchmarks on a GPU, and the tasks that measure their implementations in a child process."""

import datetime
import gc
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..operators import backends
from . import device as devices
from . import report as reports
from .children import CANNOT_RUN, FAILED, NOT_RUN, OK, WRONG, Children, Ended, Outcome, Report, first_line
from .peak_memory import MIB
from .problems import AS_WRITTEN, BASELINE, Differentiable, Problem, Size, native_recurrence, worst_error
from .tables import grid, number
from .timing import MAX_SPREAD, percentiles, progress, wall_seconds

# Paths of our kernels: one launch for each line, one launch for the whole scan, and the planner's choice.
STEP, RESIDENT, AUTO = "step", "resident", "auto"
OURS = (STEP, RESIDENT, AUTO)
SECONDS = 60.0  # the limit of a task
# The first call of our kernels may compile them.
FIRST_OF_OURS = 240.0
DEFAULT_SECONDS = 110.0  # after which a run without --full begins no task


class Precision(NamedTuple):
    dtype: torch.dtype
    tf32: bool
    # The largest allowed RMS error of the output and of each gradient, relative to the RMS of the exact values. The
    # loops in PyTorch store even the cell state in 16 bits.
    tolerance: float


PRECISIONS = {
    "float32": Precision(torch.float32, False, 1e-5),
    "tf32": Precision(torch.float32, True, 1e-2),
    "bfloat16": Precision(torch.bfloat16, False, 1e-1),
}


def apply_precision(name: str) -> Precision:
    """Switches tf32 in torch's matrix products and in cuDNN, whose defaults differ."""
    precision = PRECISIONS[name]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision.tf32
    return precision


class Scans(NamedTuple):
    """Facts of a case that the planner needs, besides its size."""

    diagonal: bool
    taps: int
    directions: int = 1


class Measurable(Protocol):
    """An object that a Row measures. The implementations in ``ours`` must run, but for those in ``optional``.

    ``baseline`` is the implementation to which the table compares the others.
    """

    @property
    def ours(self) -> tuple[str, ...]: ...
    @property
    def optional(self) -> tuple[str, ...]: ...
    @property
    def baseline(self) -> str: ...

    def measure(self, row: "Row", report: Report) -> None: ...


@dataclass(frozen=True)
class GpuCase:
    """A layer or a recurrence of one size. ``build`` returns its implementations in a precision, by its name."""

    kind: str
    size: Size
    build: Callable[[Size, str], Problem] = field(compare=False)  # a copy in a child process is equal to its original
    providers: tuple[str, ...]
    scans: Scans
    ours: tuple[str, ...] = OURS
    optional: tuple[str, ...] = (RESIDENT,)
    baseline: str = BASELINE

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"

    def plan(self, precision: str) -> str:
        """Returns the forward kernel that the planner chooses, such as "step path"."""
        size, scans = self.size, self.scans
        arguments = scans.directions, size.batch, size.height, size.width, size.hidden, scans.taps, scans.diagonal
        formats = {"float32": "fp32", "bfloat16": "bf16"}
        plans = torch.ops.pixelrnn_ext.describe_current_plan(*arguments, formats.get(precision, precision), AUTO)
        return str(plans[0]).partition(":")[0]

    def measure(self, row: "Row", report: Report) -> None:
        tolerance = apply_precision(row.precision).tolerance
        try:
            self._measure(row, tolerance, report)
        except torch.OutOfMemoryError:
            _kept.clear()
            report(no_memory=True)
            raise Ended(CANNOT_RUN, "the GPU's memory is too small") from None

    def _measure(self, row: "Row", tolerance: float, report: Report) -> None:
        problem, exact = _problem(self, row)
        found = [p for p in problem.providers if p.name == row.provider]
        if not found:
            raise Ended(CANNOT_RUN, problem.absent.get(row.provider, "this machine lacks it"))
        report(error=check(found[0].results(), exact, tolerance))
        _measure_times(found[0], exact, tolerance, row, report)
        if row.provider == AUTO and row.device == "cuda":
            report(note=self.plan(row.precision))


def recurrence(
    size: Size, precision: str, *, build: Callable[..., Problem], diagonal: bool, ops: Any = None
) -> Problem:
    """``ops`` has our operators. Tests pass those of the emulated GPU."""
    dtype, tf32, _ = PRECISIONS[precision]
    return build(size, dtype, natives={path: native_recurrence(diagonal, path, tf32, ops) for path in OURS})


def layer(size: Size, precision: str, *, build: Callable[..., Problem]) -> Problem:
    return build(size, PRECISIONS[precision].dtype, backends=OURS)


SIZES = [Size(batch, side, side, hidden) for batch in (16, 256) for side, hidden in ((28, 16), (28, 64), (32, 128))]


def cases(
    kind: str, build: Callable[[Size, str], Problem], scans: Scans, others: tuple[str, ...] = ()
) -> list[GpuCase]:
    return [GpuCase(kind, size, build, (BASELINE, AUTO, STEP, RESIDENT, *others), scans) for size in SIZES]


@dataclass(frozen=True)
class Row:
    """A task that measures one implementation of a case in one precision."""

    case: Measurable
    precision: str
    provider: str
    device: str = "cuda"
    seconds: float = field(default=SECONDS, compare=False)

    def __str__(self) -> str:
        return f"{self.case}, {self.precision}, {self.provider}"

    @property
    def is_ours(self) -> bool:
        return self.provider in self.case.ours

    def measure(self, report: Report) -> None:
        if self.is_ours and (reason := backends.why_not_native(torch.device(self.device))):
            raise Ended(FAILED, reason)
        self.case.measure(self, report)


_kept: dict[tuple[Any, ...], tuple[Problem, dict[str, Tensor]]] = {}


def _problem(case: GpuCase, row: Row) -> tuple[Problem, dict[str, Tensor]]:
    """Keeps the case that was built last, because its other implementations follow."""
    key = case, row.precision, row.device, row.provider in case.providers  # a compiled loop has a case of its own
    if key not in _kept:
        _kept.clear()  # before the next case needs memory
        with torch.device(row.device):
            problem = case.build(case.size, row.precision)
            _kept[key] = problem, problem.reference()
    return _kept[key]


def check(got: dict[str, Tensor], exact: dict[str, Tensor], tolerance: float) -> float:
    error, name = worst_error(got, exact)
    if not error <= tolerance:
        raise Ended(WRONG, f"error {error:.1e} in {name}, allowed {tolerance:.0e}")
    return error


def _measure_times(
    provider: Differentiable, exact: dict[str, Tensor], tolerance: float, row: Row, report: Report
) -> None:
    """Reports the peak memory and the times of a training step, as called and in a CUDA graph.

    On a CPU, which tests use, there is neither a peak nor a graph.
    """
    step = provider.step("forward+backward")
    if row.device == "cpu":
        report(called=times(step, wall_seconds))
        return
    report(peak_mib=peak_mib(step))
    report(called=times(step, called_seconds))
    try:
        replay = capture_graph(lambda: provider.step("forward+backward"))
        check(provider.named(replay()), exact, tolerance)
        report(graph=times(replay, called_seconds))
    except Exception as error:
        note = f"in a CUDA graph: {first_line(error)}"
        if row.is_ours:
            raise Ended(error.status if isinstance(error, Ended) else FAILED, note) from None
        raise Ended(OK, note) from None  # the time as called stays, and a fresh process follows


def called_seconds(function: Callable[[], object], calls: int = 1) -> float:
    """Returns the mean seconds of a few calls in a row between two CUDA events, with their launches."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    return 1e-3 * start.elapsed_time(end) / calls


def times(function: Callable[[], object], clock: Callable[[Callable[[], object]], float]) -> list[float]:
    """Returns the 20th percentile, the median and the 80th percentile of a warm function's times in milliseconds."""
    cost = min(clock(function) for _ in range(2))
    gc.collect()
    gc.disable()
    try:
        found = [clock(function) for _ in range(max(5, min(100, int(0.25 / max(cost, 1e-9)))))]
    finally:
        gc.enable()
    return [1e3 * seconds for seconds in percentiles(found)]


def peak_mib(step: Callable[[], object]) -> float:
    """Returns the most memory of torch's allocator in a step, less what it held before."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def capture_graph(start: Callable[[], Callable[[], Any]]) -> Callable[[], Any]:
    """Captures a function in a CUDA graph. Returns a function that replays the graph and returns its outputs.

    ``start`` returns the function to capture. It is called on the stream of the capture, because torch runs a backward
    pass on the stream of its forward pass.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run = start()
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=stream):
        outputs = run()

    def replay() -> Any:
        graph.replay()
        return outputs

    return replay


def rows(cases: Iterable[GpuCase], full: bool, device: str = "cuda") -> list[Row]:
    """Returns the rows of a table, the most informative first.

    Without ``full``, the loop as written is timed in float32 alone, and not with 256 images.
    """
    found, cases = [], list(cases)
    for size in dict.fromkeys(case.size for case in cases):
        for precision in PRECISIONS:
            for case in (case for case in cases if case.size == size):
                for provider in case.providers:
                    short = precision == "float32" and size.batch < 256
                    if full or short or provider != AS_WRITTEN:
                        found.append(Row(case, precision, provider, device))
    return found


Results = dict[Row, Outcome]


def run(
    children: Children,
    rows: Sequence[Row],
    end: float = math.inf,
    save: Callable[[Row, Outcome], None] = lambda row, outcome: None,
) -> Results:
    """Measures rows, and calls ``save`` after each. After ``end``, by time.monotonic(), no row begins."""
    results, more = Results(), FIRST_OF_OURS
    for row in rows:
        if time.monotonic() > end:
            results[row] = {"status": NOT_RUN, "note": "the time was over before"}
            continue
        with progress(str(row)):
            results[row] = children.run(row, more if row.is_ours else 0.0)
        if row.is_ours:
            more = 0.0
        save(row, results[row])
    return results


def failed(results: Results) -> list[Row]:
    """Returns the rows of ours that failed. A row for which the GPU's memory is too small did not."""

    def has_failed(row: Row, outcome: Outcome) -> bool:
        cannot_run = outcome["status"] == CANNOT_RUN and not outcome.get("no_memory")
        return outcome["status"] in (FAILED, WRONG) or (cannot_run and row.provider not in row.case.optional)

    return [row for row, outcome in results.items() if row.is_ours and has_failed(row, outcome)]


def speed_up(results: Results, row: Row, kind: str = "called") -> float | None:
    """Returns how much faster a row is than the baseline, both as called or both in a graph."""
    both = [results.get(replace(row, provider=name), {}) for name in (row.case.baseline, row.provider)]
    loop, ours = (outcome.get(kind) if outcome.get("status") == OK else None for outcome in both)
    return loop[1] / ours[1] if loop and ours else None


def values(results: Results, row: Row) -> dict[str, Any]:
    """Returns a line of the table, or of a CSV file. A row that is not "ok" has no times."""
    outcome = results[row]
    is_right = outcome["status"] == OK
    called, graph = (outcome.get(kind) if is_right else None for kind in ("called", "graph"))
    loose = [name for name, found in (("called", called), ("graph", graph)) if found and _spread(found) > MAX_SPREAD]
    notes = filter(None, ["" if is_right else outcome["status"], outcome.get("note", "")])
    return {
        "case": str(row.case),
        "precision": row.precision,
        "provider": f"ours, {row.provider}" if row.is_ours else row.provider,
        "ms as called": called and called[1],
        "ms in a graph": graph and graph[1],
        f"faster than {row.case.baseline}": speed_up(results, row),
        f"faster than {row.case.baseline}, both in graphs": speed_up(results, row, "graph"),
        "peak MiB": outcome.get("peak_mib") if is_right else None,
        "error": outcome.get("error"),
        "note": ": ".join(notes) + f" (unreliable: {' and '.join(loose)})" * bool(loose),
    }


def _spread(percentiles: list[float]) -> float:
    p20, median, p80 = percentiles
    return (p80 - p20) / median


FORMATS = {"ms": ".3f", "faster": ".1f", "peak": ".1f", "error": ".0e"}
HOW = (
    "A training step (forward + backward), timed by CUDA events after a warm-up. Every result was compared with "
    "float64 on the GPU before it was timed; error is RMS over RMS. float32 is IEEE: no tf32, nor in cuDNN.",
    "ours, auto is the planner's choice, which the note names: a resident kernel, or the step path.",
    "Each row runs in a child process with a time limit. A row that hangs, crashes or is wrong says so, and the next "
    "row runs in a fresh process.",
)


def pages(results: Results, markdown: bool = False) -> list[str]:
    """Returns a table for each case. A table is about one screen high."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in results:
        by_case.setdefault(str(row.case), []).append(values(results, row))

    def page(case: str, lines: list[dict[str, Any]]) -> str:
        header = [name for name in lines[0] if name != "case"]
        cells = [[_cell(name, line[name]) for name in header] for line in lines]
        return f"{case}\n\n{grid(header, cells, markdown, drop_empty=True)}"

    return [page(case, lines) for case, lines in by_case.items()]


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return number(value, FORMATS[name.split()[0]])


def header(facts: dict[str, Any], command: str, why: str) -> dict[str, str]:
    return {"device": devices.describe_gpu(facts, why), "command": command, "date": str(datetime.date.today())}


def report(
    results: Results, header: dict[str, str], markdown: bool = False, notes: Sequence[str] = HOW, otherwise: str = ""
) -> str:
    """Returns the text of a report. ``otherwise`` says how to measure the rows for which the time was too short."""
    left_out = [str(row) for row, outcome in results.items() if outcome["status"] == NOT_RUN]
    shown = {row: outcome for row, outcome in results.items() if outcome["status"] != NOT_RUN}
    over = [f"The time was over{otherwise} before {len(left_out)} rows: {'; '.join(left_out)}."] if left_out else []
    wrong = [f"FAILED {row}: {results[row]['note']}" for row in failed(results)]
    return reports.text(header, [], pages(shown, markdown), [*notes, *over, *wrong], markdown)
