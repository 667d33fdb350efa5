import pytest

from gpu_day.floors import FLOORS
from gpu_day.verdict import FOUR_GATES, ONE_DIRECTION, PADDED, summary, verdicts

from .made_up_day import MNIST, measurement

LARGE, LIKE_LSTM = "diagonal B64 64x64 h256", "RowLSTM layer k=1 B16 28x28 h64"
LSTM2D = "LSTM2d, 4 directions, ragged B16 16x200 h32"


# Lower bounds in microseconds, forward then backward, each in float32, TF32 and 16 bits.
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
    assert kinds(cannot, step) == ["PASS"] * 3  # judges "step", since no kernel computes all lines
    assert kinds(cannot) == ["not run"] * 3
    for status in ("failed", "mismatch"):
        assert kinds(measurement("resident", status=status), step) == ["FAILED"] * 3
    assert kinds(measurement(None, status="failed")) == ["FAILED"] * 3
    assert kinds(measurement(None, status="not run")) == ["not run"] * 3
    assert kinds(measurement("resident", device=1.0)) == ["PASS", "PASS", "not run"]
    everything = verdicts([])
    assert {line.verdict for line in everything} == {"not run"}
    assert summary(everything) == f"0 PASS, 0 MISS, 0 FAILED, {len(everything)} not run"


@pytest.mark.parametrize(
    ("case", "provider", "over", "expected"),
    [
        (LARGE, "resident", {"good loop": 0.1}, ["-", "-", "-"]),
        (LIKE_LSTM, "native", {"nn.LSTM": 0.5}, ["PASS", "PASS"]),
        (LIKE_LSTM, "native", {"nn.LSTM": 1.0}, ["PASS", "PASS"]),
        (LIKE_LSTM, "native", {"nn.LSTM": 1.01}, ["MISS", "MISS"]),
        (LSTM2D, "native", {FOUR_GATES: 1.35, ONE_DIRECTION: 1.25, PADDED: 1.1}, ["PASS", "PASS", "PASS"]),
        (LSTM2D, "native", {FOUR_GATES: 1.36, ONE_DIRECTION: 1.26, PADDED: 1.11}, ["MISS", "MISS", "MISS"]),
        (LSTM2D, "native", {FOUR_GATES: 1.35, ONE_DIRECTION: 1.25, PADDED: 1.11}, ["PASS", "PASS", "MISS"]),
    ],
)
def test_verdict_beside_others(case, provider, over, expected):
    lines = judge(measurement(provider, case=case, over=over), case=case)
    assert [line.verdict for line in lines] == expected
    assert [line.against for line in lines][-len(over) :] == [*over]
    assert {line.target == "none" for line in lines} == {case == LARGE}


def test_a_time_that_is_only_a_bound_is_shown_as_one():
    (forward, *_) = judge(measurement("resident", bound=True))
    assert forward.measured == "<= 20.0 us"
