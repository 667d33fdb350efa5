"""Tests the GPU benchmark with a made-up GPU, and the parts that the emulated GPU can run."""

import json
import math
import signal
import subprocess
from functools import partial

import pytest
import torch

import bench_gpu
from helpers.bad_tasks import CASE, Task
from helpers.models import make_model
from pixelrnn_ext.benchmark import device, gpu
from pixelrnn_ext.benchmark.children import WRONG, Ended

GPU = "cpu:0"  # a CPU device that stands for a GPU
FACTS = dict(gpu="a GPU", capability="9.0", multiprocessors=132, memory="80 GiB", torch="2", NVRTC="12.9")


@pytest.fixture
def day(monkeypatch, tmp_path, capsys):
    """Returns a function that runs a day of made-up tasks. It returns the exit status, the results and the report."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def tasks(part, out, capability):
        if part == "images":
            return [Task(how) for how in made_up]
        return gpu.rows([CASE], True, "cpu")[:2] if part == "benchmarks" else []

    monkeypatch.setattr(bench_gpu, "tasks_of", tasks)
    made_up = []

    def run(*hows, gpu="a GPU", csrc=None, arguments=()):
        made_up[:] = hows
        facts = FACTS | {"csrc": csrc or bench_gpu.source_hash.hash_of(bench_gpu.ROOT / "csrc"), "why_no_gpu": None}
        monkeypatch.setattr(device, "gpu_facts", lambda children: facts | {"gpu": gpu})
        status = bench_gpu.main(["--out", str(tmp_path), *arguments])
        saved = {path.name: json.loads(path.read_text())["rows"] for path in sorted(tmp_path.glob("*.json"))}
        return status, saved, capsys.readouterr()

    return run


def test_results_are_saved_one_by_one_and_a_second_call_goes_on(day):
    status, saved, printed = day("good", "crash", "too large")
    ((name, rows),) = saved.items()
    assert status == 1 and name.startswith("results_a_gpu_")
    images = {how: outcome["status"] for how, outcome in rows["images"].items()}
    assert images == {"good": "ok", "crash": "failed", "too large": "cannot run"}
    assert [outcome["status"] for outcome in rows["benchmarks"].values()] == ["ok", "wrong"]
    assert "- images: crash: failed, its process ended with SIGSEGV" in printed.out
    assert printed.out.count("- benchmarks: ") == 1 and "| good loop " in printed.out

    status, again, printed = day("good", "crash", "too large", "later")
    process = {how: outcome["process"] for how, outcome in again[name]["images"].items()}
    assert all(process[how] == rows["images"][how]["process"] for how in images) and "later" in process
    assert "images: good ..." not in printed.err and "images: later ..." in printed.err
    assert again[name]["benchmarks"] == rows["benchmarks"]

    status, again, printed = day("good", arguments=["--only", "images"])
    assert status == 1 and list(again[name]["images"]) == ["good"] and "benchmarks" in again[name]


def test_results_of_another_gpu_stay(day):
    _, first, _ = day("good", arguments=["--only", "images"])
    status, both, _ = day("good", gpu="B 200", arguments=["--only", "images"])
    assert status == 0 and len(both) == 2 and first.items() <= both.items()
    status, _, printed = day(arguments=["--report"])
    assert status == 0 and "- gpu: a GPU" in printed.out and "- gpu: B 200" in printed.out


def test_a_damaged_file_of_results_is_one_sentence(day, tmp_path, capsys):
    day("good", arguments=["--only", "images"])
    (path,) = tmp_path.glob("results_*.json")
    path.write_text(path.read_text()[:100])
    for arguments in (["--report"], []):
        assert bench_gpu.main(["--out", str(tmp_path), *arguments]) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1 and f"expected results in {path}, got a damaged file" in printed.err


def test_what_the_day_refuses(day, monkeypatch):
    status, saved, printed = day(csrc="other")
    assert (status, saved) == (2, {}) and "got other: pip install ." in printed.err
    assert day(arguments=["--report"])[0] == 2
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, _, printed = day()
    assert status == 2 and printed.err.count("\n") == 1 and "got none: torch " in printed.err
    with pytest.raises(SystemExit):
        day(arguments=["--only", "nothing"])


def test_an_interrupted_day_keeps_its_results(day, monkeypatch):
    monkeypatch.setattr(gpu, "failed", lambda results: (_ for _ in ()).throw(KeyboardInterrupt))
    status, saved, printed = day("good")
    (rows,) = saved.values()
    assert status == 130 and list(rows) == ["images"] and "## Images" in printed.out


@pytest.mark.parametrize(
    ("status", "last", "ended"),
    [
        (0, "3 passed", None),
        (1, "1 failed, 2 passed", "pytest ended with 1: "),
        (5, "9 deselected", "pytest ended with 5: "),
        (None, "2 passed", "the time was over: "),
    ],
    ids=["passed", "failed", "deselected", "late"],
)
def test_pytest_is_a_row(status, last, ended, monkeypatch, tmp_path):
    facts, signals, failures = {}, [], [] if status is None else ["FAILED a::b"]

    class Pytest:
        def __init__(self, command, stdout, env, **options):
            assert command[1:5] == ["-m", "pytest", "-m", "cuda"] and "PIXELRNN_SELF_CHECK" not in env
            stdout.write("\n".join([*failures, f"==== {last} ====\n"]))

        def wait(self, seconds=None):
            if status is None and not signals:
                raise subprocess.TimeoutExpired("pytest", seconds)
            return status

        send_signal = staticmethod(signals.append)

    monkeypatch.setenv("PIXELRNN_SELF_CHECK", "0")
    monkeypatch.setattr(bench_gpu.subprocess, "Popen", Pytest)
    tests = bench_gpu.Tests(("tests",), tmp_path / "tests.log", 60.0)
    if ended is None:
        tests.measure(lambda **found: facts.update(found))
        assert facts["note"] == last
    else:
        with pytest.raises(Ended, match=f"{ended}{last}; see tests.log"):
            tests.measure(lambda **found: facts.update(found))
    assert facts["failed"] == failures and signals == [signal.SIGINT] * (status is None)


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("incremental", lambda values: values, 0),
        ("incremental", lambda values: values.index_put((torch.tensor(1),) * 4, (values[1, 1, 1, 1] + 3) % 7), 1),
        ("logit_map", lambda logits: logits * 1.00001, 0),
        ("logit_map", lambda logits: logits * math.nan, 0),
    ],
    ids=["right", "value", "logits", "nan"],
)
def test_a_wrong_image_is_seen(name, change, wrong, monkeypatch):
    backends, function, facts = {"cpu": "reference", GPU: "auto"}, getattr(bench_gpu.sampling, name), {}
    make = partial(make_model, "diagonal", "rgb", torch.float32)
    monkeypatch.setattr(bench_gpu, "build", lambda name, on: make(backend=backends[on]))

    def changed(*arguments, **options):
        return change(function(*arguments, **options)) if "ways" in options else function(*arguments, **options)

    monkeypatch.setattr(bench_gpu.sampling, name, changed)
    images = bench_gpu.Images("a model", (2, 2, 3), "pytorch", GPU)
    if name == "incremental" and not wrong:
        images.measure(lambda **found: facts.update(found))
    else:
        with pytest.raises(Ended, match=f"{wrong} of 36 values are wrong") as ended:
            images.measure(lambda **found: facts.update(found))
        assert ended.value.status == WRONG
    assert facts["wrong"] == wrong


@pytest.mark.emulated
def test_the_layouts_of_a_scan_run_on_the_emulated_gpu(monkeypatch):
    from helpers.emulated import library

    ops, chosen = library.load().ops, []
    for backward in (False, True):
        scan = bench_gpu.Scan((2, 9, 5, 16), 1, "bf16", backward)
        paths = scan.layouts(ops=ops)
        assert {path.split(":")[2] for path in paths if path != "step"} == {"1", "2"}
        for path in paths:
            facts = {}
            bench_gpu.Layout(scan, path, "cpu", ops).measure(lambda facts=facts, **found: facts.update(found))
            assert bench_gpu.measured.parse_plan(facts["plan"]) or path == "step"
            chosen += [path] * facts["chosen"]
        with pytest.raises(Ended, match="error "):
            bench_gpu._tensors(scan, "cpu", ops).expected += 1
            bench_gpu.Layout(scan, "step", "cpu", ops).measure(lambda **found: None)
    assert len(chosen) == 2


@pytest.mark.emulated
@pytest.mark.parametrize(("kind", "blocks"), [("cell", 1), ("linear", 1), ("linear", 8)])
def test_an_operation_of_the_sampler_is_measured_on_the_emulated_gpu(kind, blocks, monkeypatch):
    from helpers.emulated.sampling import use_emulated_gpu

    use_emulated_gpu(monkeypatch)
    monkeypatch.setattr(gpu, "called_seconds", gpu.wall_seconds)
    monkeypatch.setattr(bench_gpu, "sm_megahertz", lambda: 1755.0)
    monkeypatch.setattr(bench_gpu, "WIDTH", 2)
    monkeypatch.setattr(bench_gpu, "HEIGHT", 1)
    # On a busy machine the longer chain may take less time, so the number may be negative.
    assert math.isfinite(bench_gpu.step_cycles(kind, 8, blocks, "cpu")["measured"])
