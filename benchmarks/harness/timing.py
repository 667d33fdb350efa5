"""Times functions side by side, by the clock on the wall or by the events of a GPU."""

import gc
import math
import statistics
import time
from collections.abc import Callable

import torch

FEWEST_ROUNDS = 5


def wall_seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(
    functions: dict[str, Callable[[], object]],
    seconds: float,
    fewest: int = FEWEST_ROUNDS,
    limit: float = math.inf,
    clock: Callable[[Callable[[], object]], float] = wall_seconds,
) -> dict[str, list[float | None]]:
    """Times the functions in rounds, about ``seconds`` for each, so that a machine whose speed drifts slows all alike.

    A slow function runs every second, fourth, eighth... round only, ``fewest`` times at least. After ``limit`` seconds
    two times of each are enough.
    """
    costs = {}
    for name, function in functions.items():
        function()
        costs[name] = clock(function)
    wanted = {name: min(200, max(fewest, int(seconds / cost))) for name, cost in costs.items()}
    rounds = max(wanted.values())
    period = {name: 2 ** int(math.log2(rounds / count)) for name, count in wanted.items()}
    times = {name: [] for name in functions}
    gc.collect()
    gc.disable()
    end = time.perf_counter() + limit
    try:
        for i in range(rounds):
            if time.perf_counter() > end and all(len(t) - t.count(None) >= 2 for t in times.values()):
                break
            for name, function in functions.items():
                times[name].append(None if i % period[name] else clock(function))
    finally:
        gc.enable()
    return times


def paired_ratio(times: list[float | None], others: list[float | None]) -> float | None:
    """The median over the rounds that timed both."""
    ratios = [a / b for a, b in zip(times, others) if a is not None and b is not None]
    return statistics.median(ratios) if ratios else None


def called_seconds(function: Callable[[], object], calls: int = 3) -> float:
    """Seconds a call between CUDA events around a few calls in a row: what a caller waits for, launches included."""
    start, end = events()
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    return 1e-3 * start.elapsed_time(end) / calls


class DeviceClock:
    """Seconds a call that the GPU works: the calls queue up behind a pause on the GPU, so that no launch is waited for.

    Where the launches outlast every pause (a queue holds about 1000) the time is one of ``called_seconds``, and
    ``bounds`` holds the function: the GPU works for that long at most.
    """

    def __init__(self, calls: int = 3, longest_pause: int = 1 << 27):
        self.calls, self.longest_pause, self.bounds = calls, longest_pause, set()
        self._pauses = {}  # cycles, by function

    def __call__(self, function: Callable[[], object]) -> float:
        start, end = events()
        while function not in self.bounds:
            pause = self._pauses.setdefault(function, 1 << 20)
            torch.cuda.synchronize()
            torch.cuda._sleep(pause)
            start.record()
            for _ in range(self.calls):
                function()
            end.record()
            queued = not start.query()  # the pause outlasted the launches
            end.synchronize()
            if queued:
                return 1e-3 * start.elapsed_time(end) / self.calls
            self._pauses[function] *= 2
            if pause >= self.longest_pause:
                self.bounds.add(function)
        return called_seconds(function, self.calls)


def events():
    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
