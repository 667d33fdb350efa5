"""Tests the benchmarks on a GPU, with a CPU, a made-up GPU or the emulated one in its place."""

import pickle
import re
from dataclasses import replace
from functools import partial

import pytest
import torch

import bench_diag
import bench_row
from harness import command, on_gpu
from helpers.bad_tasks import CASE
from pixelrnn_ext import cli
from pixelrnn_ext.benchmark import device, diagonal, gpu
from pixelrnn_ext.benchmark.children import CANNOT_RUN, Children, Ended
from pixelrnn_ext.cli import bench

FACTS = dict(gpu="a GPU", capability="9.0", multiprocessors=132, memory="80 GiB", torch="2", NVRTC="12.9")
FACTS |= dict(driver="550.1", clock="1410 MHz", most="1980 MHz", memory_clock="2619 MHz")
FIRST_LINE = (
    "device: GPU, a GPU (9.0, 132 multiprocessors, 80 GiB); driver 550.1; kernels by NVRTC 12.9; torch 2; "
    "clocks 1410 MHz of 1980 MHz, memory 2619 MHz (there is a GPU)"
)


@pytest.fixture
def made_up_gpu(monkeypatch):
    """A GPU on which a square is measured, really on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "gpu_facts", lambda children: FACTS)
    monkeypatch.setattr(gpu, "rows", lambda cases, full: [gpu.Row(CASE, "float32", p, "cpu") for p in CASE.providers])
    monkeypatch.setattr(bench, "GPU_CASES", [CASE])


def diag(*arguments):
    return command.main("bench_diag.py", "", bench_diag.CASES, bench_diag.TARGETS, list(arguments), [CASE])


def run_bench(*options):
    return cli.main(["bench", *options])


@pytest.mark.parametrize(
    "run", [run_bench, pytest.param(diag, marks=pytest.mark.sweep)], ids=["pixelrnn", "bench_diag"]
)
def test_a_provider_that_lies_or_dies_is_a_row(run, made_up_gpu, capsys):
    assert run() == 1
    printed = capsys.readouterr().out
    first, *lines = printed.splitlines()
    assert first == FIRST_LINE
    cells = [line.split(maxsplit=1)[1] for line in lines if line.startswith("float32  ")]
    rows = {line[:16].strip(): " ".join(line[16:].split()) for line in cells}
    assert list(rows) == ["good loop", "ours, step", "ours, resident", "ours, auto"]
    assert "wrong: error 5.0e-01 in " in rows["ours, step"] and ", allowed 1e-05" in rows["ours, step"]
    assert "failed: its process ended with SIGABRT: what(): CUDA error: an illegal memory" in rows["ours, resident"]
    # A busy machine adds that a time is unreliable.
    assert re.fullmatch(r"(\S+ ){2}\S+( \(unreliable: called\))?", rows["ours, auto"])
    assert float(rows["ours, auto"].split()[0]) > 0
    failures = [line.partition(": ")[0] for line in lines if line.startswith("FAILED")]
    assert failures == [f"FAILED square B2 3x4 h5, float32, {name}" for name in (gpu.STEP, gpu.RESIDENT)]


def test_the_files_of_a_run(made_up_gpu, monkeypatch, tmp_path, capsys):
    drawn, times = [], {"status": "ok", "called": [1.0, 1.0, 1.0]}
    failure = {"status": "wrong", "note": "error"}
    found = {gpu.Row(CASE, "float32", name): times for name in ("good loop", "auto")}
    found[gpu.Row(CASE, "float32", "step")] = failure
    monkeypatch.setattr(gpu, "run", lambda *arguments: found)
    monkeypatch.setattr(on_gpu, "horizontal_bars", lambda path, speeds, *texts: drawn.append(speeds))
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: True)
    pytest.importorskip("matplotlib", reason="the bench and the train extra bring matplotlib")
    files = [f"--{kind}={tmp_path / f'table.{kind}'}" for kind in ("csv", "markdown")]
    assert diag("--device", "cuda", *files, f"--plot={tmp_path / 'speed.png'}") == 1
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 4
    assert "| ours, step " in (tmp_path / "table.markdown").read_text()
    assert list(drawn[0]) == ["square B2 3x4 h5, float32"] and "--device cuda" in capsys.readouterr().out


def test_cuda_without_a_gpu_is_one_sentence(capsys):
    for run in (diag, run_bench):
        try:
            status = run("--device", "cuda")
        except SystemExit as stopped:
            status = stopped.code
        printed = capsys.readouterr()
        assert (status, printed.out) == (2, "")
        assert printed.err.count("\n") == 1 and "expected a GPU for --device cuda, got none: torch " in printed.err


def test_what_auto_takes(monkeypatch):
    assert device.choose("auto")[0] == device.choose("cpu")[0] == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose("auto") == ("cuda", "there is a GPU") and device.choose("cpu")[0] == "cpu"
    assert device.choose("auto", "--threads") == ("cpu", "--threads is for a CPU")
    with pytest.raises(ValueError, match="got none: --threads is for a CPU"):
        device.choose("cuda", "--threads")


def test_the_rows_of_a_table():
    rows = gpu.rows(diagonal.GPU_CASES, full=False)
    full = gpu.rows([*diagonal.GPU_CASES, *bench_row.GPU_CASES], full=True)
    assert len(set(full)) == len(full) and set(rows) < set(full)
    assert {str(row.case.size) for row in rows} == {
        f"B{batch} {size}" for batch in (16, 256) for size in ("28x28 h16", "28x28 h64", "32x32 h128")
    }
    assert {row.precision for row in rows} == {"float32", "tf32", "bfloat16"}
    assert {row.provider for row in rows} == {"good loop", "loop as written", "step", "resident", "auto"}
    assert {str(row.case) for row in full if row.provider == "nn.LSTM"} == {
        f"RowLSTM layer k=1 {size}" for size in gpu.SIZES
    }


def test_what_counts_as_a_failure():
    row = partial(gpu.Row, CASE, "float32")
    results = {row(provider): {"status": "cannot run", "note": ""} for provider in CASE.providers}
    assert gpu.failed(results) == [row(gpu.STEP), row(gpu.AUTO)]
    results = {row(provider): {"status": "failed", "note": ""} for provider in CASE.providers}
    assert gpu.failed(results) == [row(provider) for provider in gpu.OURS]


def test_pages_show_ratios_doubts_and_what_was_not_run():
    loop, ours, step = (gpu.Row(CASE, "tf32", name) for name in ("good loop", "auto", "step"))
    times = dict(called=[9.9, 10.0, 10.1], graph=[4.0, 4.0, 4.0], peak_mib=3.0, error=1e-4, status="ok")
    results = {loop: times, ours: times | dict(called=[1.0, 2.0, 3.0], graph=[1.0, 1.0, 1.0], note="step path")}
    results[step] = {"status": "not run", "note": "the time was over before"}
    header = gpu.header(FACTS | {"NVRTC": None}, "a command", "there is a GPU")
    printed = gpu.report(results, header, otherwise=" without --full")
    (line,) = [" ".join(line.split()) for line in printed.splitlines() if "ours, auto  " in line]
    assert line == "tf32 ours, auto 2.000 1.000 5.0 4.0 3.0 1e-04 step path (unreliable: called)"
    assert "no CUDA kernels are built" in printed.splitlines()[0]
    assert "The time was over without --full before 1 rows: square B2 3x4 h5, tf32, step." in printed


def test_a_run_that_is_over_begins_no_row():
    with Children() as children:
        results = gpu.run(children, [gpu.Row(CASE, "float32", gpu.AUTO, "cpu")], end=0.0)
    assert [outcome["status"] for outcome in results.values()] == ["not run"]


@pytest.mark.emulated
@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_our_kernels_are_measured_on_the_emulated_gpu(precision):
    from helpers.emulated import library

    build = partial(gpu.recurrence, build=diagonal.recurrence, diagonal=True, ops=library.load().ops)
    case = diagonal.GPU_CASES[0]
    case = replace(case, size=replace(case.size, batch=1, height=5, width=4), build=build)
    for provider in case.providers:
        facts = {}
        gpu.Row(case, precision, provider, "cpu").measure(lambda facts=facts, **found: facts.update(found))
        assert facts["called"][1] > 0 and facts["error"] < gpu.PRECISIONS[precision].tolerance / 4, provider


def test_a_child_builds_a_case_once_for_all_its_rows():
    copies = [pickle.loads(pickle.dumps(gpu.Row(CASE, "float32", name, "cpu"))) for name in ("good loop", "auto")]
    assert gpu._problem(copies[0].case, copies[0]) is gpu._problem(copies[1].case, copies[1])


def test_too_little_memory_is_no_failure_of_ours():
    def build(size, precision):
        raise torch.OutOfMemoryError("no memory")

    row, outcome = gpu.Row(replace(CASE, build=build, kind="large"), "float32", "auto", "cpu"), {}
    with pytest.raises(Ended) as caught:
        row.measure(lambda **facts: outcome.update(facts))
    assert caught.value.status == CANNOT_RUN and gpu.failed({row: outcome | {"status": CANNOT_RUN}}) == []
