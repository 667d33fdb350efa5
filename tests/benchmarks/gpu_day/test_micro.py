"""The microbenchmarks, and the constants that they measure (benchmarks/gpu_day/micro.py)."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gpu_day import micro, run_micro
from gpu_day.worker import Gone, TimedOut
from sass_model import model

from .made_up_day import Scripted

BENCHMARKS = run_micro.benchmarks()


def test_every_microbenchmark_measures_a_constant():
    assert len(BENCHMARKS) > 30
    used = {name for constant in micro.CONSTANTS for name in compile(constant.cycles, "", "eval").co_names}
    assert used | micro.ERRORS.keys() == BENCHMARKS.keys()


def test_the_constants_are_those_of_the_model():
    def value(name):
        table, _, entry = name.partition(" ")
        if table == "CCTL.IVALL":
            return 0  # nothing but its scoreboard
        found = getattr(model, table)
        return found if not entry else found[entry][0] if table == "PIPES" else found[entry]

    assert {constant.name: constant.model for constant in micro.CONSTANTS} == {
        c.name: value(c.name) for c in micro.CONSTANTS
    }


RAISED, HUNG = Gone("its process raised RuntimeError: broken"), TimedOut("no answer within 30 s")


@pytest.mark.parametrize(
    ("seconds", "answers", "asked", "statuses"),
    [
        (90, [["one", RAISED], ["three", HUNG], ["five"]], [60, 30, 30, 30], ["ok", "failed", "ok", "failed", "ok"]),
        (20, [["one", HUNG]], [20, 20], ["ok"] + ["not run"] * 4),
        (0.5, [], [0.5], ["not run"] * 5),
        (90, [["one", "two", "three", "four", "five", RAISED]], [60, 30], ["ok"] * 5),
    ],
    ids=["failures", "at the end of the time", "no time", "a failure after the last"],
)
def test_a_microbenchmark_that_fails_or_hangs_costs_no_other(seconds, answers, asked, statuses, monkeypatch):
    events = [[{"name": event} if isinstance(event, str) else event for event in answer] for answer in answers]
    worker = Scripted([], *events)  # which first compiles
    monkeypatch.setattr(micro, "Worker", lambda work: worker)
    names = ["one", "two", "three", "four", "five"]
    monkeypatch.setattr(micro, "benchmarks", lambda: dict.fromkeys(names))
    found = []
    micro.measure("9.0", seconds, found.append)
    assert {result["name"]: result["status"] for result in found} == dict(zip(names, statuses))
    assert {result["note"] for result in found if result["status"] == "failed"} <= {str(RAISED), str(HUNG)}
    assert [round(limit, 1) for _, limit in worker.requests] == asked


def test_without_an_nvrtc_of_the_architecture_the_microbenchmarks_say_so(monkeypatch):
    other = SimpleNamespace(version="12.9", archs={"80", "90"})
    for found, known in (([], "none"), ([other], "12.9")):
        monkeypatch.setattr(run_micro.device_code, "find", lambda found=found: iter(found))
        with pytest.raises(
            RuntimeError, match=f"expected an NVRTC that compiles for 13.0, got {known}: pip install nv"
        ):
            run_micro.compile_kernels("13.0")


@pytest.mark.parametrize(("name", "count", "value"), [("round_trip_8", 4, 2048), ("exchange_2", 512, 1)])
def test_values_that_were_not_exchanged_are_an_error(name, count, value):
    memory = np.full(run_micro.MEMORY_WORDS, value, "int32")
    memory[count:] = 7  # which no block writes
    run_micro.check_values(BENCHMARKS[name], memory)
    memory[count - 1] += 1
    with pytest.raises(RuntimeError, match=f"{name}: expected {value} at {count - 1}, got {value + 1}"):
        run_micro.check_values(BENCHMARKS[name], memory)


class FakeDriver:
    """A driver whose kernels store their number of cycles and nothing else."""

    cycles = 0, 40, 20, 30, 10, 60, 50  # the first launch warms up

    def __init__(self, machine_code, library):
        self.left, self.launches = iter(self.cycles), set()

    def launch(self, kernel, blocks, threads, cluster, arguments):
        self.launches.add((kernel, blocks, threads, cluster))
        ctypes.c_int64.from_address(arguments.cycles).value = next(self.left) * arguments.steps


def test_times_launches_and_what_cannot_run(monkeypatch):
    monkeypatch.setattr(run_micro, "Driver", FakeDriver)
    gpu = run_micro.Gpu(b"", 9, "cpu")
    assert gpu.run(BENCHMARKS["fence"]) == {"name": "fence", "cycles": 40, "least": 10, "most": 60}
    gpu = run_micro.Gpu(b"", 9, "cpu")
    with pytest.raises(RuntimeError, match="exchange_8: expected 1 at 0, got 0"):
        gpu.run(BENCHMARKS["exchange_8"])
    assert gpu.run(BENCHMARKS["ex2_error"]) == {"name": "ex2_error", "ulp": 0}
    assert gpu._driver.launches == {("exchange_8", 8, 256, 8), ("ex2_error", 1024, 256, 1)}
    older = run_micro.Gpu(b"", 8, "cpu")
    for name in ("wait_cta", "stores", "ex2_error", "cluster_barrier_relaxed_2"):
        status = older.run(BENCHMARKS[name], 2).get("status", "ok")
        assert status == ("ok" if name in ("stores", "ex2_error") else "cannot run")


@pytest.mark.emulated
@pytest.mark.parametrize("arch", ["8.0", "9.0", "10.0", "12.0"])
def test_the_microbenchmarks_compile_without_a_warning(arch):
    machine_code, log = run_micro.compile_kernels(arch)
    assert log == ""
    assert run_micro.device_code.kernels_of(machine_code) == sorted(BENCHMARKS)


@pytest.mark.emulated
def test_the_microbenchmarks_are_right_on_the_emulator():
    """Their barriers, addresses and values, and the launches. The clock of the emulator stands still."""
    from emulator import toolchain
    from emulator.control import Emulator
    from helpers import nvrtc

    header = (run_micro.KERNELS.parent / "kernels.h").read_text()
    assert f"kMemoryWords = {run_micro.MEMORY_WORDS}, kMostBlocks = {run_micro.MOST_BLOCKS};" in header
    host, flags = Path(__file__).with_name("microbenchmarks.cpp"), ["-DPIXELRNN_EMULATED"]
    library = toolchain.library(
        "microbenchmarks",
        compiler=nvrtc.compiler(),
        kernels=[run_micro.KERNELS],
        host=[host],
        arch="sm_90",
        flags=flags,
    )
    Emulator(library).device("sm_90")
    gpu = run_micro.Gpu(b"", 9, "cpu", str(library))
    for benchmark in BENCHMARKS.values():
        few = benchmark._replace(steps=16, blocks=3 if benchmark.is_error else benchmark.blocks)
        found = gpu.run(few, 2)
        if few.is_error:
            # The emulator is off by whole floats. Beyond a power of two they are twice as far apart.
            assert 0.5 < found["ulp"] <= 2 * micro.ERRORS[few.name] + 0.5
        else:
            assert found == {"name": few.name, "cycles": 0, "least": 0, "most": 0}
    with pytest.raises(RuntimeError, match="^cuModuleGetFunction: "):
        gpu.run(few._replace(name="nothing"))
