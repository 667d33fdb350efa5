"""Whether times can be trusted: how far they spread, and what other processes did meanwhile."""

import os
import re
import statistics
import time
from collections.abc import Collection, Iterable
from pathlib import Path

MOST_SPREAD = 0.25  # from the 20th to the 80th percentile, over the median
MOST_BUSY = 0.1  # of the cores, which other processes keep busy
_STAT = Path("/proc/stat")


def percentiles(times: Iterable[float | None]) -> tuple[float, float, float]:
    """Returns the 20th percentile, the median and the 80th of the times that are not None, two at least."""
    ran = [t for t in times if t is not None]
    p20, _, _, p80 = statistics.quantiles(ran, n=5, method="inclusive")
    return p20, statistics.median(ran), p80


class OtherProcesses:
    """The share of the cores that other processes keep busy, from its construction on.

    The load average would not tell it: that counts this process, too, and a build that has just ended.
    """

    def __init__(self) -> None:
        self._cores = _cores()
        self._start = time.perf_counter()
        self._before = self._others()

    def busy(self) -> float | None:
        """Returns the share. None where the system does not tell it."""
        seconds, others = time.perf_counter() - self._start, self._others()
        if others is None or self._before is None:
            return None
        return max(0.0, others - self._before) / (seconds * len(self._cores))

    def _others(self) -> float | None:
        """Returns the seconds that the other processes have used so far."""
        own = os.times()
        total = busy_seconds(_STAT.read_text(), self._cores) if _STAT.exists() else None
        return None if total is None else total - sum(own[:4])


def busy_seconds(stat: str, cores: Collection[int]) -> float | None:
    """Returns the seconds that cores have worked, or that their host has taken from them, by /proc/stat's text."""
    lines = [re.search(rf"^cpu{core} (.+)$", stat, re.MULTILINE) for core in cores]
    found = [line for line in lines if line]
    if len(found) < len(cores):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    # user, nice, system, idle, iowait, irq, softirq, steal
    ticks = [[int(value) for value in line[1].split()[:8]] for line in found]
    return sum(sum(line) - line[3] - line[4] for line in ticks) / tick


def doubt(times: Iterable[Iterable[float | None]], busy: float | None) -> str:
    """Returns why a figure made of several providers' times is unreliable. Empty where it is reliable."""
    reasons = []
    p = [percentiles(provider) for provider in times]
    spread = max(((p80 - p20) / median for p20, median, p80 in p), default=0.0)
    if spread > MOST_SPREAD:
        reasons.append(f"times spread by {spread:.0%}")
    if busy is not None and busy > MOST_BUSY:
        reasons.append(f"others had {busy:.0%} of the cores")
    return ", ".join(reasons)


def warning(doubts: list[str]) -> str:
    """Returns the warning above a table whose rows have these doubts. Empty where no row has one."""
    doubtful = sum(map(bool, doubts))
    if not doubtful:
        return ""
    load = f"; load average {os.getloadavg()[0]:.1f} on {len(_cores())} cores" if hasattr(os, "getloadavg") else ""
    return (
        f"UNRELIABLE: the machine was not quiet in {doubtful} of {len(doubts)} rows, which are marked{load}. At most, "
        f"times should spread by {MOST_SPREAD:.0%} of their median (20th to 80th percentile), and others have "
        f"{MOST_BUSY:.0%} of the cores."
    )


def _cores() -> list[int]:
    """Returns the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
