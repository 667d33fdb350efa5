"""What is required, beside what was measured."""

from dataclasses import dataclass

from pixelrnn_ext.benchmark.tables import grid


@dataclass(frozen=True)
class Verdict:
    """``required`` is None where nothing is, ``measured`` where it was not timed; ``doubt`` is reliability's."""

    case: str
    quantity: str
    required: float | None
    measured: float | None
    at_most: bool = False
    doubt: str = ""

    def __str__(self):
        if self.required is None or self.measured is None:
            return "-"
        met = self.measured <= self.required if self.at_most else self.measured >= self.required
        return ("met" if met else "missed") + (", unreliable" if self.doubt else "")


def verdict_table(verdicts: list[Verdict], required_on: str, markdown: bool = False) -> str:
    def line(v: Verdict) -> list[str]:
        required = "none" if v.required is None else f"{'<=' if v.at_most else '>='} {v.required:.3g}"
        return [v.case, v.quantity, required, "not timed" if v.measured is None else f"{v.measured:.3g}", str(v)]

    header = ["case", "quantity", f"required on {required_on}", "measured", "verdict"]
    return grid(header, [line(v) for v in verdicts], markdown)
