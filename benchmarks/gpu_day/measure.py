"""Measures one job of the GPU day; worker.py gives it a process of its own."""

import gc
import statistics
import time
from collections.abc import Callable

import torch

from harness.gpu_timing import DeviceClock, called_seconds
from pixelrnn_ext.benchmark.peak_memory import MIB
from pixelrnn_ext.benchmark.problems import BASELINE, COMPILED, FLOOR, LSTM, MODES, worst_error
from pixelrnn_ext.benchmark.timing import paired, paired_ratio, wall_seconds

from . import ROOT
from .jobs import Job
from .providers import CASES, OTHER_WORK, PRECISIONS, providers, use

TIMING = {"seconds": 0.1, "limit": 2.0}
AGAINST = (BASELINE, LSTM, *OTHER_WORK)  # ratios to them are medians over the rounds that timed both


def measure(job: Job, skip: set[str], report: Callable[[dict], None], device: str = "cuda") -> None:
    """Reports {"providers": names}, {"running": name} before a provider's first call, and a result of each in the end.

    A result is {"provider": name, "status": "ok", "cannot run", "mismatch" or "failed", ...}. A provider's exception is
    its result; one that broke the GPU for the whole process is raised as well.
    """
    precision = PRECISIONS[job.precision]
    use(precision)
    case = CASES[job.case]
    with torch.device(device):
        problem = case.build(case.size, precision)
        everyone = [p for p in providers(problem, job.compiled, device) if p.name not in skip]
        report({"providers": [p.name for p in everyone]})
        exact = problem.reference()

    def failed(name, error):
        lines = str(error).replace(f"{ROOT}/", "").strip().splitlines() or ["no message"]
        status = "cannot run" if "cannot run" in lines[0] else "failed"
        report({"provider": name, "status": status, "note": f"{type(error).__name__}: {lines[0]}"[:300]})

    good, results = {}, {}
    for provider in everyone:
        name = provider.name
        report({"running": name})
        start = time.perf_counter()
        try:
            results[name] = _check(provider, exact, precision.tolerance)
            if name == COMPILED:
                seconds = time.perf_counter() - start
                results[name].setdefault("note", f"first step {seconds:.0f} s, compilation included")
            if results[name]["status"] == "ok":
                results[name]["memory_mib"] = _peak_mib(provider, device)
                good[name] = provider
            else:
                report({"provider": name, **results[name]})
        except Exception as error:
            failed(name, error)
            recover(device)
    report({"running": None})

    for kind, clock in _clocks(device).items():
        for mode in MODES:
            # What the GPU does in a loop without graphs is of no use: the launches take longer.
            chosen = {n: p for n, p in good.items() if kind == "called" or n not in (BASELINE, COMPILED)}
            times, bounds = _times(chosen, mode, clock, failed, device)
            for name in chosen.keys() - times.keys():
                del good[name]
            for name, values in times.items():
                over = {other: paired_ratio(values, times[other]) for other in AGAINST if other in times}
                entry = {**_microseconds(values), "over": over, "bound": name in bounds}
                results[name].setdefault(kind, {})[mode] = entry
    for name in good:
        report({"provider": name, **results[name]})


def _check(provider, exact, tolerance):
    if not hasattr(provider, "results"):  # the floor: matrix products alone
        return {"status": "ok"}
    own = getattr(provider, "exact", None)  # of one that computes another function than the case
    error, where = worst_error(provider.results(), own() if own else exact)
    if error <= tolerance:
        return {"status": "ok", "error": error}
    return {"status": "mismatch", "error": error, "note": f"error {error:.1e} in {where}, allowed {tolerance:.0e}"}


def recover(device):
    """Raises where the GPU answers no more."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def _peak_mib(provider, device) -> float | None:
    """What a training step allocates at its peak, a graph's while it is captured; None for the floor."""
    if provider.name == FLOOR or device != "cuda":
        return None
    recover(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    provider.step("forward+backward")()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def _clocks(device):
    return {"called": called_seconds, "device": DeviceClock()} if device == "cuda" else {"called": wall_seconds}


def _times(chosen, mode, clock, failed, device):
    """Times by provider, without those that failed, and the providers whose times are only bounds."""
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
            failed(running, error)
            del chosen[running]
            functions.clear()
            recover(device)
    return {}, set()


def _microseconds(times):
    ran = [1e6 * t for t in times if t is not None]
    p20, _, _, p80 = statistics.quantiles(ran, n=5, method="inclusive") if len(ran) > 1 else [ran[0]] * 4
    return {"median": statistics.median(ran), "p20": p20, "p80": p80, "rounds": len(ran)}
