from dataclasses import dataclass

from pixelrnn_ext._sentences import counted
from pixelrnn_ext.benchmark.jobs import Result
from pixelrnn_ext.benchmark.problems import NATIVE, Case
from pixelrnn_ext.benchmark.run import Benchmark
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


# A target is a requirement on the time of a float32 training step of a case. ``timed`` says which implementations it
# needs, by the number of threads.


@dataclass(frozen=True)
class Target:
    """A requirement on the ratio of two implementations' times.

    Either ``at_most`` is the largest ratio to ``against``'s time, or ``faster`` is the least speed-up over it.
    """

    case: Case
    provider: str
    against: str
    at_most: float | None = None
    faster: float | None = None
    threads: int = 2

    @property
    def timed(self) -> dict[int, set[str]]:
        return {self.threads: {self.provider, self.against}}

    def verdict(self, benchmark: Benchmark) -> Verdict:
        is_ratio, names = self.at_most is not None, (self.provider, self.against)
        result = _training_step(benchmark, self.case, self.threads)
        ratio = result and result.times.ratio(*(names if is_ratio else names[::-1]))
        quantity = f"{self.provider} {'time over' if is_ratio else 'faster than'} {self.against}"
        required = self.at_most if is_ratio else self.faster
        doubt = result.times.doubt(*names) if ratio else ""
        return Verdict(_label(self.case, self.threads), quantity, required, ratio, is_ratio, doubt)


@dataclass(frozen=True)
class ThreadsTarget:
    """A requirement on the ratio of our times with two numbers of threads, which are timed one after the other."""

    case: Case
    threads: int
    against: int
    at_most: float | None = None
    faster: float | None = None

    @property
    def timed(self) -> dict[int, set[str]]:
        return {threads: {NATIVE} for threads in (self.threads, self.against)}

    def verdict(self, benchmark: Benchmark) -> Verdict:
        is_ratio, ratio, doubt = self.at_most is not None, None, ""
        results = [_training_step(benchmark, self.case, threads) for threads in self.timed]
        if all(result and NATIVE in result.times for result in results):
            ours, other = (result.times.median(NATIVE) for result in results)
            ratio = ours / other if is_ratio else other / ours
            doubt = ", ".join(filter(None, (result.times.doubt(NATIVE) for result in results)))
        quantity = f"{NATIVE} {'time over' if is_ratio else 'faster than'} {counted(self.against, 'thread')}"
        required = self.at_most if is_ratio else self.faster
        return Verdict(_label(self.case, self.threads), quantity, required, ratio, is_ratio, doubt)


@dataclass(frozen=True)
class PeakTarget:
    """The least share of the processor's multiply-adds that our kernels reach."""

    case: Case
    at_least: float
    threads: int = 2

    @property
    def timed(self) -> dict[int, set[str]]:
        return {self.threads: {NATIVE}}

    def verdict(self, benchmark: Benchmark) -> Verdict:
        result = _training_step(benchmark, self.case, self.threads)
        share = result and result.share_of_peak(NATIVE, benchmark.peaks)
        doubt = result.times.doubt(NATIVE) if share else ""
        return Verdict(_label(self.case, self.threads), f"{NATIVE} share of peak", self.at_least, share, doubt=doubt)


AnyTarget = Target | ThreadsTarget | PeakTarget


def _training_step(benchmark: Benchmark, case: Case, threads: int) -> Result | None:
    found = [r for r in benchmark.results if r.is_training_step and (r.job.case, r.job.threads) == (case, threads)]
    return found[0] if found else None


def _label(case: Case, threads: int) -> str:
    return f"{case}, {counted(threads, 'thread')}"
