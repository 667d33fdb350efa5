from dataclasses import dataclass

from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.jobs import Result
from pixelrnn_ext.benchmark.problems import FLOOR, Case
from pixelrnn_ext.benchmark.tables import grid


@dataclass(frozen=True)
class Verdict:
    """A measured value and its bound, each None if unknown."""

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


@dataclass(frozen=True)
class Target:
    """A requirement on the time of a float32 training step.

    Either ``at_most`` is the largest ratio to ``against``'s time, or ``faster`` is the least speed-up over it.
    """

    case: Case
    provider: str
    against: str
    at_most: float | None = None
    faster: float | None = None
    threads: int = 2

    def required(self, instruction_set: str | None) -> float | None:
        """Returns the limit that the measured ratio of times must meet, or None if there is no requirement.

        A requirement relative to the time of the matrix products alone depends on the instruction set. It is stated for
        AVX-512, less strict for AVX2 with 64 hidden units or more, and absent otherwise.
        """
        if self.against != FLOOR:
            return self.faster if self.at_most is None else self.at_most
        factors = {"avx512": 1.0, "avx2": 1.25 if self.case.size.hidden >= 64 else None}
        factor = factors.get(instruction_set)
        return None if factor is None else self.at_most * factor

    def verdict(self, results: list[Result], instruction_set: str | None) -> Verdict:
        is_ratio, names = self.at_most is not None, (self.provider, self.against)
        ratio, doubt = None, ""
        for result in results:
            if result.is_training_step and (result.job.case, result.job.threads) == (self.case, self.threads):
                ratio, doubt = result.times.ratio(*(names if is_ratio else names[::-1])), result.times.doubt(*names)
        return Verdict(
            f"{self.case}, {counted(self.threads, 'thread')}",
            f"{self.provider} {'time over' if is_ratio else 'faster than'} {self.against}",
            self.required(instruction_set),
            ratio,
            is_ratio,
            doubt if ratio else "",
        )
