"""What is required of a case."""

from dataclasses import dataclass

import torch

from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.problems import FLOOR, Case
from pixelrnn_ext.benchmark.reliability import doubt
from pixelrnn_ext.benchmark.row import Row

from .verdict import Verdict


@dataclass(frozen=True)
class Target:
    """What is required of float32 forward+backward: ``provider`` over ``against`` at most, or so many times faster."""

    case: Case
    provider: str
    against: str
    at_most: float | None = None
    faster: float | None = None
    threads: int = 2

    def required(self, instruction_set: str) -> float | None:
        """The bounds on the floor are those of AVX-512; on AVX2, from 64 channels on, 1.25 times them."""
        if self.against != FLOOR:
            return self.faster if self.at_most is None else self.at_most
        factors = {"avx512": 1.0, "avx2": 1.25 if self.case.size.hidden >= 64 else None}
        factor = factors.get(instruction_set)
        return None if factor is None else self.at_most * factor

    def verdict(self, rows: list[Row], instruction_set: str) -> Verdict:
        """Of its ratio, if one of these rows timed it."""
        found = {
            row.provider: row
            for row in rows
            if row.case == self.case
            and (row.dtype, row.threads, row.mode) == (torch.float32, self.threads, "forward+backward")
        }
        row, against = found.get(self.provider), found.get(self.against)
        ratio, below = row.over(against) if row and against else None, self.at_most is not None
        return Verdict(
            f"{self.case}, {counted(self.threads, 'thread')}",
            f"{self.provider} {'time over' if below else 'faster than'} {self.against}",
            self.required(instruction_set),
            ratio if below or ratio is None else 1 / ratio,
            below,
            doubt([row.times, against.times], row.busy) if ratio else "",
        )
