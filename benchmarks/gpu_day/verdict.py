"""Compares measurements on a GPU with their targets."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from harness.alone import grid

from . import floors
from .jobs import BENCHMARKS, JOBS, LIKE_LSTM, LSTM2D

# A scan on a GPU runs either one kernel for all lines ("resident") or one kernel for each line ("step"). The verdict on
# a benchmark case judges only the first of these two ways that can run the case.
PATHS = ("resident", "step")
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
    verdict: str  # "PASS", "MISS", "FAILED", "not run", or "-" without a target


def verdicts(measurements: list[dict]) -> list[Verdict]:
    found = {(m["job"], m["provider"]): m for m in measurements}
    lines = [_same_images(job, measurements) for job in JOBS["sampling"] if job.quantity == "same images"]
    for job in BENCHMARKS:
        if not job.compiled:
            measurement = partial(_measurement, found, job)
            if job.case in floors.FLOORS:
                lines += _scan(job, measurement)
            elif job.case in LIKE_LSTM:
                lines += _like_lstm(measurement(LAYER))
            elif job.case in LSTM2D:
                lines += _lstm2d(job.case, measurement(LAYER))
    return lines


def _same_images(job, measurements) -> Verdict:
    statuses = {m["provider"]: m["status"] for m in measurements if m["job"] == str(job)}
    is_wrong = not {"failed", "mismatch"}.isdisjoint(statuses.values())
    verdict = "FAILED" if is_wrong else "PASS" if statuses.get(None) == "ok" else "not run"
    return Verdict(job.case, job.precision, "drawn images", "every way", "-", "CPU", "-", "same", verdict)


def _scan(job, measurement) -> Iterator[Verdict]:
    paths = [measurement(path) for path in PATHS]
    judged = next((m for m in paths if m["status"] != "cannot run"), paths[-1])
    by_precision, required = floors.FLOORS[job.case]
    for mode, target in (("forward", floors.FORWARD_TARGET), ("backward", floors.BACKWARD_TARGET)):
        microseconds, bound = getattr(by_precision[job.precision], mode), target if required else None
        yield _judge(mode, judged, f"floor {microseconds:g} us", ("device", mode), microseconds, bound)
    bound = floors.LOOP_TARGET if required else None
    yield _judge("forward+backward", judged, LOOP, ("called", "forward+backward"), None, bound)


def _like_lstm(layer) -> Iterator[Verdict]:
    for kind, name in (("called", "forward+backward, as called"), ("device", "forward+backward, on the GPU")):
        yield _judge(name, layer, LSTM, (kind, "forward+backward"), None, floors.LSTM_TARGET)


def _lstm2d(case, layer) -> Iterator[Verdict]:
    targets = [(FOUR_GATES, floors.GATES_TARGET)]
    targets += [(ONE_DIRECTION, floors.DIRECTIONS_TARGET)] if "4 directions" in case else []
    targets += [(PADDED, floors.RAGGED_TARGET)] if "ragged" in case else []
    for other, target in targets:
        yield _judge("forward+backward", layer, other, ("device", "forward+backward"), None, target)


def _measurement(found, job, provider) -> dict:
    whole_job = found.get((str(job), None), {"status": "not run"})
    measurement = found.get((str(job), provider), whole_job)
    return {**measurement, "case": job.case, "precision": job.precision, "provider": provider}


def _judge(quantity, measurement, against, clock_and_mode, floor_us, target) -> Verdict:
    """Returns the verdict on a measured time over ``floor_us``, or else over the time of ``against``."""
    faster = against == LOOP
    shown = "none" if target is None else f"{'>=' if faster else '<='} {target:g}"
    head = measurement["case"], measurement["precision"], quantity, measurement["provider"]
    entry = measurement.get(clock_and_mode[0], {}).get(clock_and_mode[1])
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


def verdict_table(lines: list[Verdict]) -> str:
    header = ["case", "precision", "what", "provider", "median", "against", "ratio", "target", "verdict"]
    return grid(header, list(map(list, lines)), True)


def summary(lines: list[Verdict]) -> str:
    kinds = [line.verdict for line in lines]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("PASS", "MISS", "FAILED", "not run"))
