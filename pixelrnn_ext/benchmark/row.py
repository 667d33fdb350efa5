"""What was measured of one provider in one mode."""

from dataclasses import dataclass, field
from typing import Any

import torch

from . import peak_memory
from .problems import FLOOR, Case
from .reliability import doubt, percentiles
from .timing import paired_ratio


@dataclass
class Row:
    """Without times, ``error`` is why."""

    case: Case
    dtype: torch.dtype
    threads: int
    mode: str
    provider: str
    error: float | None
    times: list[float | None] = field(default_factory=list)  # seconds, None in the rounds that it sat out
    baseline: "Row | None" = field(default=None, repr=False)
    floor: "Row | None" = field(default=None, repr=False)
    busy: float | None = None  # the share of the cores that other processes had meanwhile
    memory_mib: float | None = None

    def over(self, other: "Row | None") -> float | None:
        """Time over the other's time: the median over the rounds that timed both."""
        return paired_ratio(self.times, other.times) if other else None

    def share(self) -> float | None:
        """The floor's time over this one's."""
        over_floor = self.over(self.floor)
        return 1 / over_floor if over_floor else None

    @property
    def doubt(self) -> str:
        return doubt([self.times], self.busy) if self.times else ""

    def values(self) -> dict[str, Any]:
        """By column, None where there is nothing to say."""
        p20, median, p80 = (1e3 * t for t in percentiles(self.times)) if self.times else [None] * 3
        over_baseline = self.over(self.baseline)
        map_mib = self.case.size.cells * self.case.size.hidden * self.dtype.itemsize / peak_memory.MIB
        return {
            "case": str(self.case),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": self.threads,
            "mode": self.mode,
            "provider": self.provider,
            "median ms": median,
            "p20 ms": p20,
            "p80 ms": p80,
            f"speed-up over {self.case.baseline}": 1 / over_baseline if over_baseline else None,
            f"share of {FLOOR}": self.share(),
            "peak MiB": self.memory_mib,
            "peak in h maps": None if self.memory_mib is None else self.memory_mib / map_mib,
            "max error": self.error,
            "status": "" if self.times else "mismatch",
            "unreliable": self.doubt,
        }
