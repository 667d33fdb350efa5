import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pixelrnn_ext.benchmark.peak_memory import MIB
from pixelrnn_ext.benchmark.problems import BASELINE, LSTM, MODES, worst_error
from pixelrnn_ext.benchmark.timing import paired, percentiles, wall_seconds

from . import ROOT
from .child import first_line
from .clocks import DeviceClock, called_seconds
from .gemm_floor import FLOOR
from .jobs import Job, Report
from .providers import CASES, COMPILED, OTHER_WORK, PRECISIONS, apply_precision, select_providers

TIMING = {"seconds": 0.1, "limit": 2.0}
AGAINST = (BASELINE, LSTM, *OTHER_WORK)


def measure(job: Job, known: set[str], report: Report, device: str = "cuda") -> None:
    precision = PRECISIONS[job.precision]
    apply_precision(precision)
    case = CASES[job.case]
    with torch.device(device):
        problem = case.build(case.size, precision)
        untimed = [p for p in select_providers(problem, job.compiled, device) if p.name not in known]
        exact = problem.reference()

    correct, results = {}, {}
    for provider in untimed:
        name = provider.name
        with attempt(name, report, device):
            start = time.perf_counter()
            status, result = _check(provider, exact, precision.tolerance)
            if name == COMPILED:
                seconds = time.perf_counter() - start
                result.setdefault("note", f"first step {seconds:.0f} s, compilation included")
            if status == "ok":
                result["memory_mib"] = _peak_mib(provider, device)
                status, correct[name], results[name] = "checked", provider, result
            report(name, status, **result)

    for name in correct:
        report(name, "running")
    for kind, clock in _clocks(device).items():
        for mode in MODES:
            # A loop in PyTorch launches kernels more slowly than the GPU runs them, so only its time with launches is
            # measured.
            chosen = {n: p for n, p in correct.items() if kind == "called" or n not in (BASELINE, COMPILED)}
            times, bounds = _times(chosen, mode, clock, report, device)
            for name in chosen.keys() - times.keys():
                del correct[name]
            for name, values in times.items():
                p20, median, p80 = (1e6 * seconds for seconds in percentiles(values))
                over = {other: times.ratio(name, other) for other in AGAINST if other in times}
                entry = {"median": median, "p20": p20, "p80": p80, "over": over, "bound": name in bounds}
                results[name].setdefault(kind, {})[mode] = entry
    for name in correct:
        report(name, "ok", **results[name])


def _check(provider, exact, tolerance) -> tuple[str, dict]:
    # The implementation named FLOOR computes only the scan's matrix products, so it has no results to check.
    if not hasattr(provider, "results"):
        return "ok", {}
    # An implementation that computes another function has its own expected results.
    reference = getattr(provider, "exact", None)
    error, where = worst_error(provider.results(), reference() if reference else exact)
    if error <= tolerance:
        return "ok", {"error": error}
    return "mismatch", {"error": error, "note": f"error {error:.1e} in {where}, allowed {tolerance:.0e}"}


@contextmanager
def attempt(name: str, report: Report, device: str) -> Iterator[None]:
    """Reports an exception as the result of the provider ``name``. Raises only if the GPU no longer answers."""
    report(name, "running")
    try:
        yield
    except Exception as error:
        report_failure(name, error, report, device)


def report_failure(name: str, error: Exception, report: Report, device: str) -> None:
    note = first_line(error).replace(f"{ROOT}/", "")
    report(name, "running", note)
    _recover(device)
    report(name, "cannot run" if "cannot run" in note else "failed", note)


def _recover(device):
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def _peak_mib(provider, device) -> float | None:
    if provider.name == FLOOR or device != "cuda":
        return None
    _recover(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    provider.step("forward+backward")()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def _clocks(device):
    return {"called": called_seconds, "device": DeviceClock()} if device == "cuda" else {"called": wall_seconds}


def _times(chosen, mode, clock, report, device):
    chosen = dict(chosen)
    while chosen:
        running = None

        def timed(name, function):
            def call():
                nonlocal running
                running = name
                return function()

            return call

        functions = {}
        try:
            for name, provider in chosen.items():
                running = name
                functions[name] = timed(name, provider.step(mode))
            times = paired(functions, clock=clock, **TIMING)
            return times, {name for name, function in functions.items() if function in getattr(clock, "bounds", ())}
        except Exception as error:
            del chosen[running]
            functions.clear()
            report_failure(running, error, report, device)
    return {}, set()
