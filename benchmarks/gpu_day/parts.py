"""The parts of the day, and the time that each gets."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Part(NamedTuple):
    most: int  # seconds that it gets
    least: int  # seconds that earlier parts leave to it
    what: str


PARTS = {
    "build": Part(240, 0, "the kernels for this card, where the installed ones do not run on it"),
    "check": Part(60, 30, "every kernel once, against float64"),
    "layouts": Part(90, 25, "every layout of the small scans: which is the fastest, and which the planner takes"),
    "micro": Part(45, 15, "cycles of barriers, transfers and instructions: the constants of the model"),
    "operators": Part(
        40, 10, "the operators of a scan by kernels: packing, scan, weight gradient; the step path; CUDA graphs"
    ),
    "small": Part(200, 35, "the small benchmarks, against the loops, the floors and cuDNN"),
    "tests": Part(150, 40, "the other tests on a GPU"),
    "large": Part(150, 0, "the large benchmarks, and torch.compile of the loop"),
    "plots": Part(20, 10, "of the benchmarks"),
    "verdict": Part(5, 5, "what is demanded of the measurements"),
    "sanitizer": Part(180, 45, "compute-sanitizer's memcheck, synccheck and racecheck"),
}
NEED_A_GPU = PARTS.keys() - {"plots", "verdict"}
CLOCKED = ("layouts", "micro", "operators", "small", "large")
LEAST = 4.0  # minutes of a whole day


class Budget:
    """Divides the time of a run over its parts; what one leaves, the later ones have."""

    def __init__(self, seconds: float, parts: list[str], clock: Callable[[], float] = time.monotonic):
        self._clock, self._parts, self._end = clock, parts, clock() + seconds

    def left(self) -> float:
        return self._end - self._clock()

    def of(self, part: str) -> float:
        """Seconds for a part that begins now."""
        later = self._parts[self._parts.index(part) + 1 :]
        return max(0.0, min(PARTS[part].most, self.left() - sum(PARTS[name].least for name in later)))
