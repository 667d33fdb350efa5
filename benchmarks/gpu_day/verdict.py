"""What the GPU day demands of the measurements, and whether they meet it."""

from collections.abc import Iterator
from typing import NamedTuple

from harness.alone import grid

from .floors import (
    BACKWARD_TARGET,
    DIRECTIONS_TARGET,
    FLOORS,
    FORWARD_TARGET,
    GATES_TARGET,
    LOOP_TARGET,
    LSTM_TARGET,
    RAGGED_TARGET,
    floor,
)
from .jobs import JOBS, LIKE_LSTM, LSTM2D

PATHS = ("resident", "step")  # the first of them that ran is judged
LOOP, LSTM, LAYER = "good loop", "nn.LSTM", "native"
FOUR_GATES, ONE_DIRECTION, PADDED = (f"{LAYER}, {what}" for what in ("4 gates", "1 direction", "padded"))


class Verdict(NamedTuple):
    case: str
    precision: str
    quantity: str
    provider: str
    measured: str
    against: str
    ratio: str
    target: str
    verdict: str  # PASS, MISS, FAILED, not run, or - where nothing is demanded


def verdicts(measurements: list[dict]) -> list[Verdict]:
    """One line for everything that is demanded, run or not."""
    found = {(m["case"], m["precision"], m["provider"]): m for m in measurements}
    lines = []
    jobs = dict.fromkeys((job.case, job.precision) for job in JOBS if not job.compiled)
    for case, precision in jobs:
        if case in FLOORS:
            lines += _scan(case, precision, found)
        elif case in LIKE_LSTM:
            lines += _like_lstm(case, precision, found)
        elif case in LSTM2D:
            lines += _lstm2d(case, precision, found)
    return lines


def _scan(case, precision, found) -> Iterator[Verdict]:
    paths = [_measurement(case, precision, path, found) for path in PATHS]
    judged = next((m for m in paths if m["status"] != "cannot run"), paths[-1])
    required = FLOORS[case].required
    least = floor(case, precision)
    for mode, target in (("forward", FORWARD_TARGET), ("backward", BACKWARD_TARGET)):
        microseconds, bound = getattr(least, mode), target if required else None
        yield _line(case, precision, mode, judged, f"floor {microseconds:g} us", ("device", mode), microseconds, bound)
    bound = LOOP_TARGET if required else None
    yield _line(case, precision, "forward+backward", judged, LOOP, ("called", "forward+backward"), None, bound)


def _like_lstm(case, precision, found) -> Iterator[Verdict]:
    layer = _measurement(case, precision, LAYER, found)
    for kind, name in (("called", "forward+backward, as called"), ("device", "forward+backward, on the GPU")):
        yield _line(case, precision, name, layer, LSTM, (kind, "forward+backward"), None, LSTM_TARGET)


def _lstm2d(case, precision, found) -> Iterator[Verdict]:
    layer = _measurement(case, precision, LAYER, found)
    targets = [(FOUR_GATES, GATES_TARGET)]
    targets += [(ONE_DIRECTION, DIRECTIONS_TARGET)] if "4 directions" in case else []
    targets += [(PADDED, RAGGED_TARGET)] if "ragged" in case else []
    for other, target in targets:
        yield _line(case, precision, "forward+backward", layer, other, ("device", "forward+backward"), None, target)


def _measurement(case, precision, provider, found) -> dict:
    whole_case = found.get((case, precision, None), {"status": "not run"})
    return found.get((case, precision, provider), {**whole_case, "provider": provider})


def _line(case, precision, quantity, measurement, against, where, floor_us, target) -> Verdict:
    """``floor_us`` None: the ratio is to the other provider, over the rounds that timed both."""
    faster = against == LOOP
    shown = "none" if target is None else f"{'>=' if faster else '<='} {target:g}"
    head = case, precision, quantity, measurement["provider"]
    entry = measurement.get(where[0], {}).get(where[1])
    if measurement["status"] != "ok" or entry is None:
        broken = measurement["status"] in ("failed", "mismatch")
        return Verdict(*head, "-", against, "-", shown, "FAILED" if broken else "not run")
    measured = f"{'<= ' if entry['bound'] else ''}{entry['median']:.1f} us"
    ratio = entry["median"] / floor_us if floor_us else entry["over"].get(against)
    if ratio is None:
        return Verdict(*head, measured, against, "-", shown, "not run")
    ratio = 1 / ratio if faster else ratio
    met = target is not None and (ratio >= target if faster else ratio <= target)
    verdict = "-" if target is None else "PASS" if met else "MISS"
    return Verdict(*head, measured, against, f"{ratio:.2f}", shown, verdict)


def verdict_table(lines: list[Verdict], markdown: bool) -> str:
    header = ["case", "precision", "what", "provider", "median", "against", "ratio", "target", "verdict"]
    return grid(header, [list(line) for line in lines], markdown)


def counts(lines: list[Verdict]) -> str:
    kinds = [line.verdict for line in lines]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("PASS", "MISS", "FAILED", "not run"))
