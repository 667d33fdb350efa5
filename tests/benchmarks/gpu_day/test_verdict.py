"""What is demanded of a GPU's times, and whether they meet it (benchmarks/gpu_day/floors.py, verdict.py)."""

import pytest

from gpu_day.floors import FLOORS, floor
from gpu_day.providers import CASES
from gpu_day.verdict import FOUR_GATES, ONE_DIRECTION, PADDED, counts, verdicts

from .made_up_day import MNIST, measurement

# As the project's document of the kernels has it: microseconds, in brackets with clusters.
TABLE = """
| MNIST diagonal, B16 28x28 h16 | 55 | 12 / 12 / 12 | 18 / 18 / 17 |
| MNIST row | 28 | 6 / 6 / 6 | 10 / 10 / 9 |
| CIFAR diagonal, B16 32x32 h128 | 63 | 64 / 25 / 14 (25 with clusters) | 128 / 43 / 25 (36) |
| CIFAR row | 32 | 96 / 25 / 13 | 192 / 38 / 22 |
| large diagonal, B64 64x64 h256 | 127 | 4100 / 800 / 400 | 8200 / 1360 / 680 |
| large row | 64 | 6150 / 830 / 420 | 12300 / 1670 / 830 |
"""


def test_floors():
    sizes = {"MNIST": "B16 28x28 h16", "CIFAR": "B16 32x32 h128", "large": "B64 64x64 h256"}
    expected = {}
    for line in TABLE.strip().splitlines():
        name, steps, *times = (cell.strip() for cell in line.strip("|").split("|"))
        data, kind = name.split(",")[0].split()
        case = f"{'row k=3' if kind == 'row' else kind} {sizes[data]}"
        # The last number of the last cell is that of clusters, where there is one.
        columns = [[float(cell.strip(" ()").split()[0]) for cell in t.replace("(", "/").split("/")] for t in times]
        for precision, i in (("fp32", 0), ("tf32", 1), ("bf16", -1), ("fp16", -1)):
            expected[case, precision] = (int(steps), columns[0][i], columns[1][i])
    got = {(case, p): (FLOORS[case].steps, *floor(case, p)) for case in FLOORS for p in FLOORS[case].by_precision}
    assert got == expected
    assert floor("DiagonalBiLSTM layer B16 28x28 h16", "fp32") is None


def test_steps_are_those_of_the_sizes():
    for name, case in FLOORS.items():
        size = CASES[name].size
        assert case.steps == (size.height if name.startswith("row") else size.height + size.width - 1)


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
