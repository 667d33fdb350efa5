"""The measurements of a case's providers in one mode."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch

from .jobs import Job
from .peak_memory import MIB
from .problems import FLOOR
from .reliability import percentiles
from .timing import Times


@dataclass
class Result:
    """The providers of a job in one mode.

    Attributes:
        errors: by provider. A provider that has an error and no time gave wrong numbers.
        unlike: the providers of another function, which have no ratio to the baseline and to the floor.
        peak_mib: peak memory by provider, None where the system does not tell it.
    """

    job: Job
    mode: str
    times: Times
    errors: dict[str, float]
    unlike: Collection[str] = ()
    peak_mib: dict[str, float | None] = field(default_factory=dict)

    @property
    def is_training_step(self) -> bool:
        """Whether the short table shows it: forward and backward in float32."""
        return (self.job.dtype, self.mode) == (torch.float32, "forward+backward")

    @property
    def providers(self) -> list[str]:
        return list(dict.fromkeys([*self.times, *self.errors]))

    def faster(self, other: str) -> float | None:
        """Returns how many times faster than another provider ours is."""
        return self.times.ratio(other, self.job.case.ours)

    @property
    def doubt(self) -> str:
        """Why the comparison of ours with the others is unreliable."""
        return self.times.doubt(self.job.case.ours, *self.job.case.against, FLOOR)

    def values(self, provider: str) -> dict[str, Any]:
        """Returns what was measured of a provider by column, None where there is nothing to say."""
        case, dtype, threads, times = self.job.case, self.job.dtype, self.job.threads, self.times
        ran = provider in times
        p20, median, p80 = (1e3 * t for t in percentiles(times[provider])) if ran else [None] * 3
        is_like, peak = provider not in self.unlike, self.peak_mib.get(provider)
        map_mib = case.size.cells * case.size.hidden * dtype.itemsize / MIB
        return {
            "case": str(case),
            "dtype": str(dtype).removeprefix("torch."),
            "threads": threads,
            "mode": self.mode,
            "provider": provider,
            "median ms": median,
            "p20 ms": p20,
            "p80 ms": p80,
            f"speed-up over {case.baseline}": times.ratio(case.baseline, provider) if is_like else None,
            f"share of {FLOOR}": times.ratio(FLOOR, provider) if is_like else None,
            "peak MiB": peak,
            "peak in h maps": None if peak is None else peak / map_mib,
            "max error": self.errors.get(provider),
            "status": "" if ran else "mismatch",
            "unreliable": times.doubt(provider),
        }
