"""Times functions in turn."""

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .reliability import OtherProcesses, doubt

FEWEST_ROUNDS = 5
_Result = TypeVar("_Result")


def timed(function: Callable[[], _Result]) -> tuple[_Result, float]:
    """Returns the function's result and the seconds that it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def wall_seconds(function: Callable[[], object]) -> float:
    return timed(function)[1]


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Tells a user at the terminal what runs, and how long it took."""
    print(label, end=" ... ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


class Times(dict[str, list[float | None]]):
    """Seconds by function, a value for each round. It is None in the rounds that the function sat out.

    Attributes:
        busy: the share of the cores that other processes had meanwhile. None where the system does not tell it.
    """

    busy: float | None = None

    def median(self, name: str) -> float:
        return statistics.median(t for t in self[name] if t is not None)

    def ratio(self, name: str, other: str) -> float | None:
        """Returns a function's time over another function's. None where one of the two was not timed."""
        return paired_ratio(self.get(name, []), self.get(other, []))

    def doubt(self, *names: str) -> str:
        """Returns why a figure made of these functions' times is unreliable. Empty where it is reliable."""
        timed = [self[name] for name in names if name in self]
        return doubt(timed, self.busy) if timed else ""


def paired(
    functions: dict[str, Callable[[], object]],
    seconds: float,
    fewest: int = FEWEST_ROUNDS,
    limit: float = math.inf,
    clock: Callable[[Callable[[], object]], float] = wall_seconds,
) -> Times:
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
    times, others = Times({name: [] for name in functions}), OtherProcesses()
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
    times.busy = others.busy()
    return times


def paired_ratio(times: list[float | None], others: list[float | None]) -> float | None:
    """Returns the median ratio over the rounds that timed both. None where there is no such round."""
    ratios = [a / b for a, b in zip(times, others) if a is not None and b is not None]
    return statistics.median(ratios) if ratios else None
