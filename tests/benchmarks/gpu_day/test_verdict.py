"""What is demanded of a GPU's times, and whether they meet it (benchmarks/gpu_day/floors.py, verdict.py)."""

import pytest

from gpu_day.floors import FLOORS
from gpu_day.verdict import FOUR_GATES, ONE_DIRECTION, PADDED, counts, verdicts

from .made_up_day import MNIST, measurement

# Microseconds of the forward and the backward, by FP32, TF32 and 16 bits.
MODEL = {
    "diagonal B16 28x28 h16": [(12, 12, 12), (18, 18, 17)],
    "row k=3 B16 28x28 h16": [(6, 6, 6), (10, 10, 9)],
    "diagonal B16 32x32 h128": [(64, 25, 25), (128, 43, 36)],
    "row k=3 B16 32x32 h128": [(96, 25, 13), (192, 38, 22)],
    "diagonal B64 64x64 h256": [(4100, 800, 400), (8200, 1360, 680)],
    "row k=3 B64 64x64 h256": [(6150, 830, 420), (12300, 1670, 830)],
}


def test_floors():
    for case, passes in MODEL.items():
        floors = FLOORS[case].by_precision
        assert [tuple(f[i] for f in map(floors.get, ("fp32", "tf32", "bf16"))) for i in (0, 1)] == passes
        assert floors["fp16"] == floors["bf16"]
    assert MODEL.keys() == FLOORS.keys()


def judge(*measurements, case=MNIST, precision="fp32"):
    return [v for v in verdicts(list(measurements)) if (v.case, v.precision) == (case, precision)]


@pytest.mark.parametrize(
    ("device", "speedup", "expected"),
    [
        (24.0, 50.0, ["PASS", "PASS", "PASS"]),
        (24.1, 49.9, ["MISS", "PASS", "MISS"]),
        (45.0, 50.1, ["MISS", "PASS", "PASS"]),
        (45.1, 50.1, ["MISS", "MISS", "PASS"]),
    ],
)
def test_verdict_of_a_scan(device, speedup, expected):
    resident = measurement("resident", device=device, over={"good loop": 1 / speedup})
    lines = judge(resident, measurement("step", device=1.0))
    assert [line.verdict for line in lines] == expected
    assert [line.quantity for line in lines] == ["forward", "backward", "forward+backward"]
    assert {line.provider for line in lines} == {"resident"}
    assert [line.ratio for line in lines] == [f"{device / 12:.2f}", f"{device / 18:.2f}", f"{speedup:.2f}"]


def test_verdict_where_something_is_missing():
    def kinds(*measurements):
        return [line.verdict for line in judge(*measurements)]

    cannot = measurement("resident", status="cannot run")
    step = measurement("step", device=1.0, over={"good loop": 0.01})
    assert kinds() == ["not run"] * 3
    assert kinds(cannot, step) == ["PASS"] * 3  # the step path stands in for one that this size has not
    assert kinds(cannot) == ["not run"] * 3
    for status in ("failed", "mismatch"):
        assert kinds(measurement("resident", status=status), step) == ["FAILED"] * 3
    assert kinds(measurement(None, status="failed")) == ["FAILED"] * 3
    assert kinds(measurement(None, status="not run")) == ["not run"] * 3
    assert kinds(measurement("resident", device=1.0)) == ["PASS", "PASS", "not run"]  # the loop failed
    everything = verdicts([])
    assert {line.verdict for line in everything} == {"not run"}
    assert counts(everything) == f"0 PASS, 0 MISS, 0 FAILED, {len(everything)} not run"


def test_the_large_cases_have_no_target():
    case = "diagonal B64 64x64 h256"
    lines = judge(measurement("resident", case=case, over={"good loop": 0.1}), case=case)
    assert [(line.target, line.verdict) for line in lines] == [("none", "-")] * 3


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, "PASS"), (0.5, "PASS"), (1.01, "MISS")])
def test_verdict_against_lstm(ratio, expected):
    case = "RowLSTM layer k=1 B16 28x28 h64"
    lines = judge(measurement("native", case=case, over={"nn.LSTM": ratio}), case=case)
    assert [line.verdict for line in lines] == [expected] * 2
    assert [line.against for line in lines] == ["nn.LSTM"] * 2


def test_a_time_that_is_only_a_bound_is_shown_as_one():
    (forward, *_) = judge(measurement("resident", bound=True))
    assert forward.measured == "<= 20.0 us"


@pytest.mark.parametrize(("device", "expected"), [(1.1, "PASS"), (1.2, "MISS"), (1.3, "MISS")])
def test_verdict_of_lstm2d(device, expected):
    case = "LSTM2d, 4 directions, ragged B16 16x200 h32"
    over = {FOUR_GATES: device + 0.1, ONE_DIRECTION: 1.25, PADDED: device}
    lines = judge(measurement("native", case=case, over=over), case=case)
    four, one, padded = (line.verdict for line in lines)
    assert [line.against for line in lines] == [FOUR_GATES, ONE_DIRECTION, PADDED]
    assert (four, one, padded) == ("PASS" if device < 1.3 else "MISS", "PASS", expected)
