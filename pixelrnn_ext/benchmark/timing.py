"""Times functions side by side."""

import gc
import math
import statistics
import time
from collections.abc import Callable

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
    times: dict[str, list[float | None]] = {name: [] for name in functions}
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
