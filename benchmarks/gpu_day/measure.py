import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from pixelrnn_ext.benchmark.peak_memory import MIB
from pixelrnn_ext.benchmark.problems import BASELINE, FLOOR, LSTM, MODES, worst_error
from pixelrnn_ext.benchmark.timing import paired, percentiles, wall_seconds

from . import ROOT
from .child import first_line
from .clocks import DeviceClock, called_seconds
from .jobs import Job
from .providers import CASES, COMPILED, OTHER_WORK, PRECISIONS, providers, use

TIMING = {"seconds": 0.1, "limit": 2.0}
AGAINST = (BASELINE, LSTM, *OTHER_WORK)


def measure(job: Job, known: set[str], report: Callable[..., None], device: str = "cuda") -> None:
    """Checks every provider of a case, then times the right ones side by side."""
    precision = PRECISIONS[job.precision]
    use(precision)
    case = CASES[job.case]
    with torch.device(device):
        problem = case.build(case.size, precision)
        everyone = [p for p in providers(problem, job.compiled, device) if p.name not in known]
        exact = problem.reference()

    good, results = {}, {}
    for provider in everyone:
        name = provider.name
        with attempt(name, report, device):
            start = time.perf_counter()
            status, result = _check(provider, exact, precision.tolerance)
            if name == COMPILED:
                seconds = time.perf_counter() - start
                result.setdefault("note", f"first step {seconds:.0f} s, compilation included")
            if status == "ok":
                result["memory_mib"] = _peak_mib(provider, device)
                status, good[name], results[name] = "checked", provider, result
            report(name, status, **result)

    for name in good:
        report(name, "running")
    for kind, clock in _clocks(device).items():
        for mode in MODES:
            # The GPU's time of a loop without graphs is useless, since the launches take longer.
            chosen = {n: p for n, p in good.items() if kind == "called" or n not in (BASELINE, COMPILED)}
            times, bounds = _times(chosen, mode, clock, report, device)
            for name in chosen.keys() - times.keys():
                del good[name]
            for name, values in times.items():
                p20, median, p80 = (1e6 * seconds for seconds in percentiles(values))
                over = {other: times.ratio(name, other) for other in AGAINST if other in times}
                entry = {"median": median, "p20": p20, "p80": p80, "over": over, "bound": name in bounds}
                results[name].setdefault(kind, {})[mode] = entry
    for name in good:
        report(name, "ok", **results[name])


def _check(provider, exact, tolerance) -> tuple[str, dict]:
    if not hasattr(provider, "results"):  # the floor: matrix products alone
        return "ok", {}
    own = getattr(provider, "exact", None)  # the reference of a provider that computes another function
    error, where = worst_error(provider.results(), own() if own else exact)
    if error <= tolerance:
        return "ok", {"error": error}
    return "mismatch", {"error": error, "note": f"error {error:.1e} in {where}, allowed {tolerance:.0e}"}


@contextmanager
def attempt(name: str, report: Callable[..., None], device: str) -> Iterator[None]:
    """Reports a provider's exception as its result. Raises only if the GPU no longer answers."""
    report(name, "running")
    try:
        yield
    except Exception as error:
        failed(name, error, report, device)


def failed(name: str, error: Exception, report: Callable[..., None], device: str) -> None:
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
    """Returns the peak memory of a training step, of a graph during capture. None for the floor and on a CPU."""
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
    """Returns the times of the providers that do not fail, and the names whose times are upper bounds."""
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
            failed(running, error, report, device)
    return {}, set()
