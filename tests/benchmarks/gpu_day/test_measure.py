from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gpu_day import clocks, measure, providers, verdict
from gpu_day.jobs import Job
from pixelrnn_ext.benchmark import baselines
from pixelrnn_ext.benchmark.problems import Differentiable

from .made_up_day import Report


@pytest.fixture
def measured(monkeypatch):
    small = {name: replace(case, size=case.size.tiny()) for name, case in providers.CASES.items()}
    monkeypatch.setattr(measure, "CASES", small)
    monkeypatch.setattr(measure, "TIMING", {"seconds": 0.0, "fewest": 2})

    def run(case, precision="fp32", skip=(), compiled=False):
        report = Report()
        measure.measure(Job(case, precision, compiled=compiled), set(skip), report, device="cpu")
        return report.results

    return run


@pytest.mark.parametrize(
    ("case", "precision", "names"),
    [
        ("diagonal B16 28x28 h16", "fp32", ["good loop"]),
        ("diagonal B16 28x28 h16", "fp16", ["good loop"]),
        ("row k=3 B16 32x32 h128", "bf16", ["good loop"]),
        ("RowLSTM layer k=1 B16 28x28 h64", "fp32", ["good loop", "nn.LSTM"]),
        ("RowLSTM layer k=1 B16 28x28 h64", "bf16", ["good loop", "nn.LSTM"]),
        ("DiagonalBiLSTM layer B16 28x28 h16", "fp32", ["good loop"]),
        ("LSTM2d, 1 direction B16 28x28 h64", "fp32", ["good loop", "native, 4 gates"]),
    ],
)
def test_the_baselines_compute_the_reference(measured, case, precision, names):
    found = measured(case, precision, skip={"native", "step", "resident"})
    assert list(found) == [*names, "GEMM floor"]
    for name in names:
        assert found[name]["status"] == "ok" and 0 < found[name]["error"] < providers.PRECISIONS[precision].tolerance
        for mode in ("forward", "backward", "forward+backward"):
            entry = found[name]["called"][mode]
            assert 0 < entry["p20"] <= entry["median"] <= entry["p80"] and entry["over"]["good loop"] > 0


def test_lstm2d_is_timed_beside_less_work(measured):
    found = measured("LSTM2d, 4 directions, ragged B16 16x200 h32")
    assert {name for name, result in found.items() if result["status"] == "cannot run"} == {"step", "resident"}
    times = found["native"]["called"]["forward+backward"]["over"]
    assert times.keys() == {"good loop", verdict.FOUR_GATES, verdict.ONE_DIRECTION, verdict.PADDED}


@pytest.mark.sweep
def test_the_compiled_loop_is_timed_beside_the_loop(measured):
    found = measured("row k=3 B16 28x28 h16", compiled=True)
    assert [(name, found[name]["status"]) for name in found] == [("good loop", "ok"), ("good loop, compiled", "ok")]
    loop = found["good loop, compiled"]
    assert loop["error"] < 1e-5 and loop["called"]["backward"]["over"]["good loop"] > 0
    assert loop["note"].startswith("first step ") and loop["note"].endswith(", compilation included")


def test_wrong_numbers_get_no_time(measured, monkeypatch):
    run = baselines.row_good_loop
    monkeypatch.setattr(baselines, "row_good_loop", lambda x, weight: run(x, weight * 1.001))
    found = measured("row k=3 B16 28x28 h16", skip={"step", "resident"})
    assert found["good loop"]["status"] == "mismatch" and "called" not in found["good loop"]
    assert found["GEMM floor"]["status"] == "ok"


@pytest.mark.parametrize("mode", ["forward+backward", "backward"])
def test_an_exception_stays_with_its_provider(measured, mode, monkeypatch):
    step = Differentiable.step

    def raises(self, wanted):
        if self.name == "nn.LSTM" and wanted == mode:
            raise RuntimeError("out of\nluck")
        return step(self, wanted)

    monkeypatch.setattr(Differentiable, "step", raises)
    found = measured("RowLSTM layer k=1 B16 28x28 h16", skip={"native", "step", "resident"})
    assert found["nn.LSTM"] == {"status": "failed", "note": "RuntimeError: out of"}
    assert found["good loop"]["status"] == "ok"


@pytest.fixture
def gpu(monkeypatch):
    """Replaces torch.cuda's events and sleep by made-up ones.

    A test sets ``milliseconds()``, the time between two events, and ``launches``, the cycles that the launches take.
    ``slept`` lists the cycles of each sleep.
    """
    gpu = SimpleNamespace(slept=[], milliseconds=lambda: 6.0, launches=0)
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    event.query = lambda: gpu.slept[-1] < gpu.launches
    event.elapsed_time = lambda end: gpu.milliseconds()
    monkeypatch.setattr(clocks, "events", lambda: (event, event))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", gpu.slept.append)
    return gpu


def test_device_clock(gpu):
    calls, gpu.launches = [], 4 << 20
    function = lambda: calls.append(1)  # noqa: E731
    clock = clocks.DeviceClock(calls=3)
    assert clock(function) == 2e-3
    assert gpu.slept == [1 << 20, 2 << 20, 4 << 20] and len(calls) == 9 and not clock.bounds
    assert clock(function) == 2e-3 and gpu.slept[3:] == [4 << 20]
    gpu.launches = 1 << 40
    assert clock(function) == 2e-3 and clock.bounds == {function} and gpu.slept[-1] == 1 << 27


def test_the_sm_clock_by_two_pauses(gpu):
    gpu.milliseconds = lambda: (gpu.slept[-1] / 1500 + 7) / 1e3
    assert clocks.sm_megahertz() == pytest.approx(1500)
    gpu.milliseconds = lambda: 0.0
    assert clocks.sm_megahertz() is None


def test_times_of_kernels():
    class Event:
        def __init__(self, name, microseconds, device="CUDA"):
            self.name, self.device_type = name, getattr(torch.autograd.DeviceType, device)
            self.time_range = torch.autograd.profiler_util.Interval(100.0, 100.0 + microseconds)

    calls = [[Event("pack_bf16", 2), Event("forward_x", us), Event("gemm", 1), Event("gemm", 3)] for us in (20, 90, 22)]
    events = [event for call in calls for event in call] + 3 * [Event("aten::mm", 500, "CPU")] + [Event("Memset", 1)]
    assert clocks.by_kernel(events, 3) == {"pack_bf16": (1, 2), "forward_x": (1, 22), "gemm": (2, 4)}
    assert clocks.by_kernel([], 3) == {}
