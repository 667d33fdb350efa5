"""Compares the measurements of the GPU day with their targets."""

from collections.abc import Iterator
from typing import NamedTuple

from harness.alone import grid

from . import floors
from .jobs import BENCHMARKS, LIKE_LSTM, LSTM2D

PATHS = ("resident", "step")  # the first path that can run is judged
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
    verdict: str  # PASS, MISS, FAILED, not run, or - without a target


def verdicts(measurements: list[dict]) -> list[Verdict]:
    found = {(m["job"], m["provider"]): m for m in measurements}
    lines = []
    for case, precision, *_ in (job for job in BENCHMARKS if not job.compiled):
        if case in floors.FLOORS:
            lines += _scan(case, precision, found)
        elif case in LIKE_LSTM:
            lines += _like_lstm(case, precision, found)
        elif case in LSTM2D:
            lines += _lstm2d(case, precision, found)
    return lines


def _scan(case, precision, found) -> Iterator[Verdict]:
    paths = [_measurement(case, precision, path, found) for path in PATHS]
    judged = next((m for m in paths if m["status"] != "cannot run"), paths[-1])
    by_precision, required = floors.FLOORS[case]
    for mode, target in (("forward", floors.FORWARD_TARGET), ("backward", floors.BACKWARD_TARGET)):
        microseconds, bound = getattr(by_precision[precision], mode), target if required else None
        yield _line(case, precision, mode, judged, f"floor {microseconds:g} us", ("device", mode), microseconds, bound)
    bound = floors.LOOP_TARGET if required else None
    yield _line(case, precision, "forward+backward", judged, LOOP, ("called", "forward+backward"), None, bound)


def _like_lstm(case, precision, found) -> Iterator[Verdict]:
    layer = _measurement(case, precision, LAYER, found)
    for kind, name in (("called", "forward+backward, as called"), ("device", "forward+backward, on the GPU")):
        yield _line(case, precision, name, layer, LSTM, (kind, "forward+backward"), None, floors.LSTM_TARGET)


def _lstm2d(case, precision, found) -> Iterator[Verdict]:
    layer = _measurement(case, precision, LAYER, found)
    targets = [(FOUR_GATES, floors.GATES_TARGET)]
    targets += [(ONE_DIRECTION, floors.DIRECTIONS_TARGET)] if "4 directions" in case else []
    targets += [(PADDED, floors.RAGGED_TARGET)] if "ragged" in case else []
    for other, target in targets:
        yield _line(case, precision, "forward+backward", layer, other, ("device", "forward+backward"), None, target)


def _measurement(case, precision, provider, found) -> dict:
    job = f"{case} {precision}"
    whole_job = found.get((job, None), {"status": "not run"})
    return found.get((job, provider), {**whole_job, "provider": provider})


def _line(case, precision, quantity, measurement, against, where, floor_us, target) -> Verdict:
    """Returns one line. Without ``floor_us`` the ratio is to the provider ``against``, in rounds that timed both."""
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
