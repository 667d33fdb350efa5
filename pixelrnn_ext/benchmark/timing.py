"""Times functions in turn, and tells whether their times are reliable."""

import gc
import math
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

FEWEST_ROUNDS = 5
# Measured times are unreliable if (80th percentile - 20th percentile) / median is more than MAX_SPREAD.
MAX_SPREAD = 0.25
# Measured times are unreliable if other processes use more than the share MAX_BUSY of the cores.
MAX_BUSY = 0.1
_STAT = Path("/proc/stat")
_Result = TypeVar("_Result")


def timed(function: Callable[[], _Result]) -> tuple[_Result, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def wall_seconds(function: Callable[[], object]) -> float:
    return timed(function)[1]


@contextmanager
def progress(label: str) -> Iterator[None]:
    print(label, end=" ... ", file=sys.stderr, flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def percentiles(times: Iterable[float | None]) -> tuple[float, float, float]:
    """Returns the 20th percentile, the median and the 80th percentile.

    At least two times must not be None.
    """
    seconds = [t for t in times if t is not None]
    p20, _, _, p80 = statistics.quantiles(seconds, n=5, method="inclusive")
    return p20, statistics.median(seconds), p80


class OtherProcesses:
    """Measures the share of the cores that other processes use from now on.

    The load average would also count this process, and builds that have just ended.
    """

    def __init__(self) -> None:
        self._cores = _cores()
        self._start = time.perf_counter()
        self._before = self._others()

    def busy(self) -> float | None:
        seconds, others = time.perf_counter() - self._start, self._others()
        if others is None or self._before is None:
            return None
        return max(0.0, others - self._before) / (seconds * len(self._cores))

    def _others(self) -> float | None:
        this_process = os.times()
        total = busy_seconds(_STAT.read_text(), self._cores) if _STAT.exists() else None
        return None if total is None else total - sum(this_process[:4])


def busy_seconds(stat: str, cores: Collection[int]) -> float | None:
    """Returns the busy seconds, summed over ``cores``.

    ``stat`` is the text of /proc/stat. None if it lacks one of the cores.
    """
    lines = [re.search(rf"^cpu{core} (.+)$", stat, re.MULTILINE) for core in cores]
    found = [line for line in lines if line]
    if len(found) < len(cores):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    # Clock ticks: user, nice, system, idle, iowait, irq, softirq, steal.
    ticks = [[int(value) for value in line[1].split()[:8]] for line in found]
    return sum(sum(line) - line[3] - line[4] for line in ticks) / tick


class Times(dict[str, list[float | None]]):
    """Maps a function's name to its seconds in each round, or None where it did not run."""

    busy: float | None = None  # other processes' share of the cores, None if unknown

    def median(self, name: str) -> float:
        return statistics.median(t for t in self[name] if t is not None)

    def ratio(self, name: str, other: str) -> float | None:
        """Returns the median ratio of two functions' times in the same round, or None if no round timed both."""
        pairs = zip(self.get(name, []), self.get(other, []))
        ratios = [a / b for a, b in pairs if a is not None and b is not None]
        return statistics.median(ratios) if ratios else None

    def doubt(self, *names: str) -> str:
        """Returns why these functions' times are unreliable, or an empty text."""
        reasons, timed = [], [percentiles(self[name]) for name in names if name in self]
        spread = max(((p80 - p20) / median for p20, median, p80 in timed), default=0.0)
        if spread > MAX_SPREAD:
            reasons.append(f"times spread by {spread:.0%}")
        if timed and self.busy is not None and self.busy > MAX_BUSY:
            reasons.append(f"others had {self.busy:.0%} of the cores")
        return ", ".join(reasons)


def paired(
    functions: dict[str, Callable[[], object]],
    seconds: float,
    fewest: int = FEWEST_ROUNDS,
    limit: float = math.inf,
    clock: Callable[[Callable[[], object]], float] = wall_seconds,
    warm: bool = False,
) -> Times:
    """Times functions in rounds, so that a drift of the machine's speed affects all functions alike.

    Each function runs for about ``seconds``, and at least ``fewest`` times. A slow function runs only in every second,
    fourth, eighth ... round. After ``limit`` seconds the rounds end as soon as each function has been timed twice. If
    ``warm`` is true, each timed call follows another call of the same function, so that the function's data are in the
    caches and its threads are awake.
    """
    costs = {}
    for name, function in functions.items():
        function()
        costs[name] = clock(function)
    wanted = {name: min(200, max(fewest, int(seconds / cost))) for name, cost in costs.items()}
    rounds = max(wanted.values(), default=0)
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
                is_due = i % period[name] == 0
                if is_due and warm:
                    function()
                times[name].append(clock(function) if is_due else None)
    finally:
        gc.enable()
    times.busy = others.busy()
    return times


def warning(doubts: list[str]) -> str:
    doubtful = sum(map(bool, doubts))
    if not doubtful:
        return ""
    load = f"; load average {os.getloadavg()[0]:.1f} on {len(_cores())} cores" if hasattr(os, "getloadavg") else ""
    return (
        f"UNRELIABLE: the machine was not quiet in {doubtful} of {len(doubts)} rows, which are marked{load}. At most, "
        f"times should spread by {MAX_SPREAD:.0%} of their median (20th to 80th percentile), and others have "
        f"{MAX_BUSY:.0%} of the cores."
    )


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
