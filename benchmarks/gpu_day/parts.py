"""The parts of the day, the sessions that run them, and the time that each gets."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Part(NamedTuple):
    most: int  # seconds that it gets
    least: int  # seconds that earlier parts leave to it
    what: str


PARTS = {
    "build": Part(240, 0, "the kernels of this checkout for this card, where the installed ones are others"),
    "check": Part(100, 100, "every kernel once, against float64"),
    "layouts": Part(390, 60, "every layout of the small scans: which is the fastest, and which the planner takes"),
    "exchange": Part(40, 20, "what blocks of a cluster exchange in a line, and a launch: constants of the planner"),
    "operators": Part(
        60, 20, "the operators of a scan by kernels: packing, scan, weight gradient; the step path; CUDA graphs"
    ),
    "small": Part(300, 100, "the small benchmarks, against the loops, the floors and cuDNN"),
    "large": Part(240, 0, "the large benchmarks, and torch.compile of the loop"),
    "tests": Part(150, 50, "the other tests on a GPU"),
    "sanitizer": Part(450, 220, "compute-sanitizer's memcheck, synccheck and racecheck"),
}
# Each begins with the build, so that no session measures other kernels than those of this checkout.
SESSIONS = {
    1: ["build", "check", "layouts", "exchange"],
    2: ["build", "operators", "small", "large"],
    3: ["build", "tests", "sanitizer"],
}


class Budget:
    """Divides the time of a session over its parts; what one leaves, the later ones have."""

    def __init__(self, seconds: float, parts: list[str], clock: Callable[[], float] = time.monotonic):
        self._clock, self._parts, self._end = clock, parts, clock() + seconds

    def left(self) -> float:
        return self._end - self._clock()

    def of(self, part: str) -> float:
        """Seconds for a part that begins now."""
        later = self._parts[self._parts.index(part) + 1 :]
        return max(0.0, min(PARTS[part].most, self.left() - sum(PARTS[name].least for name in later)))
