"""Ours beside the others of a case, and the short table of it."""

from dataclasses import dataclass

import torch

from .._sentences import counted
from .problems import COMPILED, FLOOR, Case
from .reliability import doubt
from .row import Row
from .tables import grid, number


@dataclass(frozen=True)
class Comparison:
    case: Case
    threads: int
    rows: dict[str, Row]  # by provider; float32, forward+backward

    @property
    def ours(self) -> Row | None:
        return self.rows.get(self.case.ours)

    @property
    def others(self) -> tuple[str, ...]:
        return *self.case.against, COMPILED

    def faster(self, other: str) -> float | None:
        """How many times faster than it ours is."""
        over = self.ours.over(self.rows.get(other)) if self.ours else None
        return 1 / over if over else None

    @property
    def doubt(self) -> str:
        shown = [self.rows.get(name) for name in (self.case.ours, *self.others, FLOOR)]
        timed = [row for row in shown if row and row.times]
        return doubt([row.times for row in timed], timed[0].busy) if timed else ""


def comparisons(rows: list[Row]) -> list[Comparison]:
    found: dict[tuple[Case, int], dict[str, Row]] = {}
    for row in rows:
        if (row.dtype, row.mode) == (torch.float32, "forward+backward"):
            found.setdefault((row.case, row.threads), {})[row.provider] = row
    return [Comparison(case, threads, of_case) for (case, threads), of_case in found.items()]


def labels(lines: list[Comparison]) -> list[str]:
    """The cases, with the threads where they differ."""
    if len({line.threads for line in lines}) == 1:
        return [str(line.case) for line in lines]
    return [f"{line.case}, {counted(line.threads, 'thread')}" for line in lines]


def short_table(lines: list[Comparison], markdown: bool) -> str:
    others = list(dict.fromkeys(name for line in lines for name in line.others))
    cells = []
    for label, line in zip(labels(lines), lines):
        v = line.ours.values() if line.ours else {}
        cells.append(
            [
                *(label, number(v.get("median ms"), ".1f")),
                *(number(line.faster(name), ".1f", " x") for name in others),
                *(number(v.get(f"share of {FLOOR}"), ".0%"), number(v.get("peak MiB"), ".1f")),
                *(number(v.get("max error"), ".0e"), line.doubt),
            ]
        )
    header = ["case", "ours, ms", *(f"faster than {name}" for name in others)]
    header += [f"share of {FLOOR}", "peak MiB", "error", "unreliable"]
    return grid(header, cells, markdown, drop_empty=True)


def how_to_read(lines: list[Comparison]) -> str:
    floor = f"{FLOOR} is the matrix products alone and 100% as fast as they are, "
    return (
        "A training step (forward + backward) in float32, ours and the others in turn: 2.0 x faster is half the time, "
        f"{floor if any(line.ours and line.ours.floor for line in lines) else ''}"
        "error is RMS over RMS against float64."
    )
