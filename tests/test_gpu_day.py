"""benchmarks/gpu_day, as far as it goes without a GPU."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import pixelrnn_ext as px
from workers import work

ROOT = Path(__file__).resolve().parents[1]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture
def day():
    from gpu_day import day

    return day


def program(*arguments):
    path = os.pathsep.join([str(Path(px.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_day", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@no_gpu
def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path):
    done = program("--out", tmp_path / "new" / "folder")
    assert done.returncode == 2 and done.stdout == ""
    expected = f"gpu_day: expected a GPU with CUDA, got none that torch {torch.__version__} can use.\n"
    assert done.stderr == expected
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out"),
        (["--out", "{}", "--only", "tests,everything"], "got 'everything'"),
        (["--out", "{}", "--only", ""], "got ''"),
        (["--out", "{}", "--minutes", "1"], "expected at least 4, got 1"),
        (["--out", "{}", "--minutes", "nan"], "expected at least 4, got nan"),
        (["--out", "{}", "--minutes", "soon"], "invalid float value"),
        (["--out", "{}/file/folder"], "cannot create"),
        (["--out", "{}", "more"], "unrecognized arguments: more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments(day, arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        day.main([argument.format(tmp_path) for argument in arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and "error: " in error


@pytest.mark.parametrize("content", [None, "{ torn"])
def test_a_verdict_alone_needs_earlier_results(day, content, tmp_path, capsys):
    if content:
        (tmp_path / "results.json").write_text(content)
    assert day.main(["--out", str(tmp_path), "--only", "verdict"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gpu_day: expected ") and error.count("\n") == 1


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
    from gpu_day.floors import FLOORS, floor

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
    from gpu_day.floors import FLOORS
    from gpu_day.providers import CASES

    for name, case in FLOORS.items():
        size = CASES[name].size
        assert case.steps == (size.height if name.startswith("row") else size.height + size.width - 1)


def test_every_job_has_a_case_and_every_floor_its_jobs():
    from gpu_day.floors import FLOORS
    from gpu_day.jobs import JOBS
    from gpu_day.providers import CASES, PRECISIONS

    assert len(set(JOBS)) == len(JOBS)
    assert {job.case for job in JOBS} == set(CASES) and {job.precision for job in JOBS} == set(PRECISIONS)
    assert {(case, p) for case in FLOORS for p in ("fp32", "bf16")} <= {(job.case, job.precision) for job in JOBS}
    assert [job.precision for job in JOBS[:8]] == ["fp32"] * 4 + ["bf16"] * 4


MNIST = "diagonal B16 28x28 h16"


def measurement(provider, called=100.0, device=20.0, case=MNIST, precision="fp32", status="ok", over=None, bound=False):
    """20 us on the GPU and 100 as called, in every mode."""

    def modes(median):
        entry = {"median": median, "p20": median, "p80": median, "rounds": 5, "over": over or {}, "bound": bound}
        return dict.fromkeys(("forward", "backward", "forward+backward"), entry)

    result = {"case": case, "precision": precision, "provider": provider, "status": status, "note": "because"}
    return {**result, "called": modes(called), "device": modes(device)} if status == "ok" else result


def judge(*measurements, case=MNIST, precision="fp32"):
    from gpu_day.verdict import verdicts

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
    from gpu_day.verdict import counts, verdicts

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


def test_report(tmp_path):
    from gpu_day import report

    data = {
        "environment": {"card": "a card", "driver": None},
        "parts": {"tests": {"status": "not run", "note": "no time"}},
        "tests": {"tests": None},
        "measurements": [
            measurement("resident"),
            measurement("step", status="failed"),
            {**measurement(None, status="not run"), "precision": "tf32"},
        ],
    }
    text = report.markdown(data)
    assert "- card: a card\n- driver: unknown" in text
    assert f"- {MNIST} fp32, step: failed (because)\n- {MNIST} tf32, all providers: not run (because)" in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    rows = [row for row in rows if row[1:3] == [MNIST, "fp32"]]
    assert [row[9] for row in rows[:3]] == ["PASS", "PASS", "not run"]  # its three verdicts
    assert rows[3][3:5] == ["resident", "100.0"] and len(rows) == 4  # and its measurement


def test_plots_need_matplotlib_and_measurements(tmp_path, monkeypatch):
    from gpu_day import report

    data = {"environment": {"card": "a card"}, "parts": {}, "measurements": []}
    if report.importlib.util.find_spec("matplotlib"):
        assert report.plot(tmp_path, data) == "no plots, since nothing was measured"
        data["measurements"] = [measurement("resident"), measurement("good loop")]
        assert report.plot(tmp_path, data) == "forward_backward.png, over_floor.png"
        assert all((tmp_path / name).stat().st_size > 1000 for name in ("forward_backward.png", "over_floor.png"))
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    assert report.plot(tmp_path, data) == "no plots, since matplotlib is not installed"


def test_budget(day):
    now = 100.0
    budget = day.Budget(530, list(day.PARTS), lambda: now)
    assert budget.of("build") == 240
    now += 300  # a slow build leaves what it must to the others
    assert budget.left() == 230
    assert budget.of("check") == 230 - 25 - 15 - 10 - 35 - 40 - 0 - 10 - 5 - 45
    now += 10  # a quick check leaves more to the others
    assert budget.of("layouts") == 220 - 15 - 10 - 35 - 40 - 0 - 10 - 5 - 45
    now += 10
    assert budget.of("micro") == 45
    assert budget.of("small") == 210 - 40 - 0 - 10 - 5 - 45
    now += 165
    assert budget.of("sanitizer") == 45
    now += 300
    assert budget.of("plots") == 0
    assert sum(least for _, least in day.PARTS.values()) <= 60 * day.LEAST - 10
    assert day.Budget(100, ["tests"], lambda: now).of("tests") == 100


class Scripted:
    """A worker that answers each request from a list: events, and perhaps an exception in the end."""

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    def ask(self, request, seconds):
        self.requests.append((request, seconds))
        for event in self.answers.pop(0):
            if isinstance(event, BaseException):
                raise event
            yield event

    def close(self):
        pass


def keep(results):
    raise AssertionError(f"expected no Ctrl-C, got one that keeps {results}")


@pytest.fixture
def job():
    from gpu_day.jobs import Job

    return Job(MNIST, "fp32", seconds=10.0)


PROVIDERS = {"providers": ["good loop", "step", "resident"]}


def ok(name):
    return {"provider": name, "status": "ok"}


def statuses(measurements):
    assert all((m["case"], m["precision"]) == (MNIST, "fp32") for m in measurements)
    return {m["provider"]: m["status"] for m in measurements}


def test_a_job_without_time_is_listed_as_not_run(day, job):
    worker = Scripted()
    (result,) = day.run_job(job, worker, 9.0, keep)
    assert (result["status"], result["provider"], result["note"]) == ("not run", None, "9 s left, it is given 10 s")
    assert not worker.requests


def test_a_provider_that_crashes_costs_the_others_nothing(day, job):
    from gpu_day.worker import Gone

    worker = Scripted(
        [PROVIDERS, {"running": "good loop"}, {"running": "step"}, Gone("its process ended with SIGSEGV")],
        [{"running": "resident"}, {"running": None}, ok("good loop"), ok("resident")],
    )
    measurements = day.run_job(job, worker, 100.0, keep)
    assert statuses(measurements) == {"step": "failed", "good loop": "ok", "resident": "ok"}
    assert measurements[0]["note"] == "its process ended with SIGSEGV"
    (_, first), (again, _) = worker.requests
    assert first == 2 * 10 + day.START and again == (job, {"step"})


def test_a_crash_of_no_one_in_particular_fails_all(day, job):
    from gpu_day.worker import Gone, TimedOut

    gone = Gone("its process ended with exit status 1")
    assert statuses(day.run_job(job, Scripted([gone]), 100.0, keep)) == {None: "failed"}
    during_timing = [PROVIDERS, {"provider": "step", "status": "cannot run"}, {"running": None}, gone]
    expected = {"step": "cannot run", "good loop": "failed", "resident": "failed"}
    assert statuses(day.run_job(job, Scripted(during_timing), 100.0, keep)) == expected
    # A job that its own limit ends has failed; one that the end of the part ends has not run.
    hung = [PROVIDERS, {"running": None}, TimedOut("no answer within 40 s")]
    assert set(statuses(day.run_job(job, Scripted(hung), 100.0, keep)).values()) == {"failed"}
    assert set(statuses(day.run_job(job, Scripted(hung), 30.0, keep)).values()) == {"not run"}


def test_the_loop_beside_the_compiled_one_is_not_listed_twice(day, job):
    name = "good loop, compiled"
    worker = Scripted([{"providers": ["good loop", name]}, ok("good loop"), ok(name)])
    assert statuses(day.run_job(job._replace(compiled=True), worker, 100.0, keep)) == {name: "ok"}
    assert statuses(day.run_job(job._replace(compiled=True), worker, 0.0, keep)) == {name: "not run"}


@pytest.mark.parametrize(
    ("item", "seconds", "message"),
    [
        ("exit", 30, "its process ended with exit status 3"),
        ("crash", 30, "its process ended with SIGSEGV"),
        ("raise", 30, "its process ended with exit status 4"),
        ("error", 30, "its process raised RuntimeError: broken"),
        ("hang", 1, "no answer within 1 s"),
    ],
)
def test_worker(item, seconds, message):
    from gpu_day.worker import Gone, TimedOut, Worker

    worker = Worker(work)
    try:
        assert list(worker.ask(["a", "b"], 30)) == ["a", "b"]
        got = []
        with pytest.raises(Gone) as gone:
            got.extend(worker.ask([item], seconds))
        assert str(gone.value) == message and isinstance(gone.value, TimedOut) == (item == "hang")
        assert list(worker.ask(["c"], 30)) == ["c"]
    finally:
        worker.close()


FACTS = {"torch": torch.__version__, "CUDA": "13.0", "card": "a card", "multiprocessors": 132, "architecture": "9.0"}
CONFIG = {"cuda_archs": "9.0+PTX", "why_no_cuda": None}


@pytest.fixture
def with_a_gpu(day, monkeypatch):
    monkeypatch.setattr(day, "probe", lambda folder: (FACTS, CONFIG))
    monkeypatch.setattr(day, "output", lambda *command: None)


def saved(folder):
    return json.loads((folder / "results.json").read_text())


def interrupted_in_the_third_job(day, monkeypatch):
    from gpu_day.jobs import JOBS

    def run_job(job, worker, seconds, keep):
        if job == JOBS[2]:
            raise KeyboardInterrupt
        return [measurement("resident", case=job.case, precision=job.precision)]

    monkeypatch.setattr(day, "run_job", run_job)
    return JOBS[:2]


def test_an_interrupted_run_keeps_what_it_has(day, with_a_gpu, monkeypatch, tmp_path, capsys):
    done = interrupted_in_the_third_job(day, monkeypatch)
    assert day.main(["--out", str(tmp_path), "--only", "build,small,verdict"]) == 130
    data = saved(tmp_path)
    assert [(m["case"], m["precision"]) for m in data["measurements"]] == [job[:2] for job in done]
    assert {name: part["status"] for name, part in data["parts"].items()} == {
        "build": "ok", "check": "not run", "layouts": "not run", "micro": "not run", "operators": "not run",
        "small": "interrupted", "tests": "not run", "large": "not run", "plots": "not run", "verdict": "not run",
        "sanitizer": "not run",
    }  # fmt: skip
    assert data["environment"]["card"] == "a card" and "benchmarks.gpu_day --out" in data["environment"]["command"]
    printed = capsys.readouterr().out
    assert "PASS" in printed and "| resident" in printed
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    # The other parts can be added, to results of the same card only.
    assert day.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert len(saved(tmp_path)["measurements"]) == 2
    assert day.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert len(saved(tmp_path)["measurements"]) == 2
    monkeypatch.setattr(day, "probe", lambda folder: ({**FACTS, "card": "another"}, CONFIG))
    assert day.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert saved(tmp_path)["measurements"] == []


def test_a_part_that_raises_is_recorded_and_the_rest_goes_on(day, with_a_gpu, monkeypatch, tmp_path):
    def broken(*command, **options):
        raise OSError("no pip")

    monkeypatch.setattr(day.commands, "run", broken)
    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("resident", case=job.case)])
    assert day.main(["--out", str(tmp_path)]) == 1
    parts = saved(tmp_path)["parts"]
    for name in ("check", "micro", "tests", "sanitizer"):
        assert parts[name]["status"] == "failed" and parts[name]["note"].startswith("OSError: no pip")
    others = parts.keys() - {"check", "micro", "tests", "sanitizer"}
    assert {parts[name]["status"] for name in others} == {"ok"}


PYTEST = """<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1" time="2.5">
<testcase classname="test_cuda" name="test_a" time="1.5"/><testcase classname="test_cuda" name="test_b" time="0.5">
<failure message="AssertionError: h: error ratio 1e-2&#10;more">the traceback</failure></testcase>
<testcase classname="test_cuda" name="test_c" time="0.1"><skipped message="a second GPU is needed"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def all_parts(day, with_a_gpu, monkeypatch):
    """The order of what a whole run does, and what its tests are given; the card has no kernels yet."""
    done = []

    def command(command, log, seconds, cwd, **environment):
        log.write_text("1 passed")
        if "pip" not in command and "pytest" not in command:
            return micro(command, log)
        if "pytest" not in command:
            done.append("build")
            monkeypatch.setattr(day, "probe", lambda folder: (FACTS, CONFIG))
            return 0
        selection = [word for word in command if word.startswith(("tests/", "--ignore"))]
        done.append((selection, environment))
        Path(next(word for word in command if word.startswith("--junitxml=")).partition("=")[2]).write_text(PYTEST)
        return 1

    def run_job(job, worker, seconds, keep):
        done.append(job)
        return [measurement("resident", case=job.case, precision=job.precision)]

    def micro(command, log):
        if "-O3" in command:
            done.append("micro")
        log.write_text("stores" if len(command) == 1 else '{"name": "stores", "cycles": 1.5}')
        return 0

    monkeypatch.setattr(day, "probe", lambda folder: (FACTS, {"cuda_archs": None, "why_no_cuda": "no nvcc"}))
    monkeypatch.setattr(day.micro, "nvcc", lambda: "nvcc")
    monkeypatch.setattr(day.commands, "run", command)
    monkeypatch.setattr(day, "run_job", run_job)
    return done


def test_what_tells_most_comes_first(day, all_parts, tmp_path, capsys):
    from gpu_day.jobs import LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS

    assert day.main(["--out", str(tmp_path)]) == 1
    tests = [entry for entry in all_parts if isinstance(entry, tuple) and isinstance(entry[0], list)]
    check, others, sanitizer = tests
    scans = [*LAYOUT_JOBS, "micro", *OPERATOR_JOBS]
    assert all_parts == ["build", check, *scans, *SMALL_JOBS, others, *LARGE_JOBS, sanitizer]
    parts = ["build", "check", "layouts", "micro", "operators", "small", "tests", "large", "plots", "verdict"]
    assert list(saved(tmp_path)["parts"]) == [*parts, "sanitizer"]
    # The three are all tests, and none twice.
    assert check[0][0] == "tests/test_cuda_kernels.py" and sanitizer[0] == ["tests/test_cuda_sanitizer.py"]
    assert others[0] == [f"--ignore={file}" for file in (check[0][0], *sanitizer[0])]
    for selection, environment in tests:
        assert environment["PIXELRNN_TUNE_TILES"] == "0"
        files = [word.removeprefix("--ignore=").partition("::")[0] for word in selection]
        assert all((ROOT / file).exists() for file in files)
    assert 10 < float(sanitizer[1]["PIXELRNN_SANITIZER_SECONDS"]) < 60


def test_everything_but_logs_and_plots_is_in_one_file(day, all_parts, tmp_path, capsys):
    day.main(["--out", str(tmp_path)])
    data = saved(tmp_path)
    assert data["tests"]["check"] == data["tests"]["tests"] == data["tests"]["sanitizer"]
    assert data["tests"]["check"] == {
        "passed": 1,
        "failed": [
            {
                "test": "test_cuda::test_b",
                "message": "AssertionError: h: error ratio 1e-2\nmore",
                "text": "the traceback",
            }
        ],
        "broken": 1,
        "skipped": {"a second GPU is needed": 1},
        "seconds": 2.5,
        "slowest": [
            {"test": "test_cuda::test_a", "seconds": 1.5},
            {"test": "test_cuda::test_b", "seconds": 0.5},
            {"test": "test_cuda::test_c", "seconds": 0.1},
        ],
    }
    assert {verdict["verdict"] for verdict in data["verdicts"]} >= {"PASS"}
    files = {file.name for file in tmp_path.iterdir()}
    logs = {f"{part}.log" for part in ("build", "check", "micro", "tests", "sanitizer")}
    assert files >= {"results.json", *logs} and len(files) <= 9
    assert {Path(name).suffix for name in files} <= {".json", ".log", ".png"}
    # The report is printed, and again from that file alone.
    report = capsys.readouterr().out
    assert "- check: test_cuda::test_b: AssertionError: h: error ratio 1e-2\n" in report
    assert day.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert capsys.readouterr().out.partition("## Tests")[2] == report.partition("## Tests")[2]


def test_a_part_that_runs_again_replaces_its_measurements_alone(day, with_a_gpu, monkeypatch, tmp_path):
    from gpu_day.jobs import JOBS

    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("step", case=job.case, precision=job.precision)])
    for parts in ("small,large", "small"):
        assert day.main(["--out", str(tmp_path), "--only", parts]) == 0
        assert len(saved(tmp_path)["measurements"]) == len(JOBS)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    from gpu_day import results

    kept = results.Results(tmp_path)
    kept.add("small", [measurement("step")])
    monkeypatch.setattr(results.json, "dumps", lambda *args, **options: "{ torn" + 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kept.add("small", [measurement("resident")])
    monkeypatch.undo()
    assert len(saved(tmp_path)["measurements"]) == 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIG, None),
        ({"cuda_archs": "8.0;9.0+PTX;10.0;12.0+PTX", "why_no_cuda": None}, None),
        ({"cuda_archs": "8.0+PTX", "why_no_cuda": None}, "expected kernels for architecture 9.0, got 8.0+PTX"),
        ({"cuda_archs": None, "why_no_cuda": "no nvcc"}, "no nvcc"),
    ],
)
def test_when_to_build(day, config, reason):
    assert day.why_build(FACTS, config) == reason


def junit(tmp_path, tests, failures=0, skipped=0):
    file = tmp_path / "tests.xml"
    skips = "".join('<testcase><skipped message="no GPU"/></testcase>' for _ in range(skipped))
    suite = f'<testsuite tests="{tests}" failures="{failures}" errors="0" skipped="{skipped}">{skips}</testsuite>'
    file.write_text(f"<testsuites>{suite}</testsuites>")
    return file


def test_tests_that_were_skipped_cover_nothing(tmp_path):
    from gpu_day.pytest_runs import judge, read

    assert judge(read(junit(tmp_path, 5, skipped=1)), "", "4 passed") == ("ok", "4 passed; skipped 1: no GPU")
    assert judge(read(junit(tmp_path, 3, skipped=3)), "", "")[0] == "not run"
    assert judge(read(junit(tmp_path, 0)), "", "")[0] == "not run"
    assert judge(read(junit(tmp_path, 5, failures=1)), "", "")[0] == "failed"
    assert judge(read(junit(tmp_path, 5)), "stopped after 9 s; ", "5 passed")[0] == "failed"
    assert judge(read(tmp_path / "none.xml"), "", "Killed") == ("failed", "no report; the last line is 'Killed'")


def test_a_command_that_takes_too_long_may_report_before_it_is_killed(day, tmp_path):
    report = tmp_path / "report"
    tidy = f"""
import time
try:
    print("started", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    open({str(report)!r}, "w").write("interrupted")
"""
    stubborn = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    log = tmp_path / "log"
    assert day.commands.run([sys.executable, "-c", "print(1); exit(7)"], log, 30, tmp_path) == 7
    assert day.closing_line(log) == "1"
    assert day.commands.run([sys.executable, "-c", tidy], log, 1, tmp_path) is None
    assert report.read_text() == "interrupted"
    assert day.commands.run([sys.executable, "-c", stubborn], log, 0.5, tmp_path, grace=0.2) is None


@pytest.fixture
def tiny(monkeypatch):
    from gpu_day import measure, providers

    small = {name: replace(case, size=case.size.tiny()) for name, case in providers.CASES.items()}
    monkeypatch.setattr(measure, "CASES", small)
    monkeypatch.setattr(measure, "TIMING", {"seconds": 0.0, "fewest": 2})
    return measure


def measured(module, case, precision="fp32", skip=()):
    from gpu_day.jobs import Job

    found = []
    module.measure(Job(case, precision), set(skip), found.append, device="cpu")
    return {event["provider"]: event for event in found if "provider" in event}


@pytest.mark.parametrize(
    ("case", "precision", "names"),
    [
        ("diagonal B16 28x28 h16", "fp32", ["good loop"]),
        ("diagonal B16 28x28 h16", "fp16", ["good loop"]),
        ("row k=3 B16 32x32 h128", "bf16", ["good loop"]),
        ("RowLSTM layer k=1 B16 28x28 h64", "fp32", ["good loop", "nn.LSTM"]),
        ("RowLSTM layer k=1 B16 28x28 h64", "bf16", ["good loop", "nn.LSTM"]),
        ("DiagonalBiLSTM layer B16 28x28 h16", "fp32", ["good loop"]),
    ],
)
def test_the_baselines_compute_the_reference(tiny, case, precision, names):
    found = measured(tiny, case, precision, skip={"native", "step", "resident"})
    assert list(found) == [*names, "GEMM floor"]
    for name in names:
        assert found[name]["status"] == "ok" and 0 < found[name]["error"] < tiny.PRECISIONS[precision].tolerance
        for mode in ("forward", "backward", "forward+backward"):
            entry = found[name]["called"][mode]
            assert 0 < entry["p20"] <= entry["median"] <= entry["p80"] and entry["over"]["good loop"] > 0


def test_wrong_numbers_get_no_time(tiny, monkeypatch):
    import bench_row

    run = bench_row.baselines.row_good_loop
    monkeypatch.setattr(bench_row.baselines, "row_good_loop", lambda x, weight: run(x, weight * 1.001))
    found = measured(tiny, "row k=3 B16 28x28 h16", skip={"step", "resident"})
    assert found["good loop"]["status"] == "mismatch" and "called" not in found["good loop"]
    assert found["GEMM floor"]["status"] == "ok"


@pytest.mark.parametrize("mode", ["forward+backward", "backward"])
def test_an_exception_stays_with_its_provider(tiny, mode, monkeypatch):
    from harness.problems import Differentiable

    step = Differentiable.step

    def raises(self, wanted):
        if self.name == "nn.LSTM" and wanted == mode:
            raise RuntimeError("out of\nluck")
        return step(self, wanted)

    monkeypatch.setattr(Differentiable, "step", raises)
    found = measured(tiny, "RowLSTM layer k=1 B16 28x28 h16", skip={"native", "step", "resident"})
    assert found["nn.LSTM"] == {"provider": "nn.LSTM", "status": "failed", "note": "RuntimeError: out of"}
    assert found["good loop"]["status"] == "ok"


def test_device_clock(monkeypatch):
    """It lengthens the pause until the launches are hidden behind it, and gives up at the longest."""
    from harness import timing

    pauses = []

    class Event:
        def __init__(self, needed):
            self.needed = needed

        def record(self):
            pass

        synchronize = record

        def query(self):  # whether the GPU has come to it already
            return pauses[-1] < self.needed

        def elapsed_time(self, end):
            return 6.0

    needed = 4 << 20
    monkeypatch.setattr(timing, "events", lambda: (Event(needed), Event(needed)))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", pauses.append)
    calls = []
    function = lambda: calls.append(1)  # noqa: E731
    clock = timing.DeviceClock(calls=3)
    assert clock(function) == 2e-3
    assert pauses == [1 << 20, 2 << 20, 4 << 20] and len(calls) == 9 and not clock.bounds
    assert clock(function) == 2e-3 and pauses[3:] == [4 << 20]
    needed = 1 << 40
    assert clock(function) == 2e-3 and clock.bounds == {function} and pauses[-1] == 1 << 27


# ---- layouts, operators, microbenchmarks, clocks
# -----------------------------------------------------------------------


def test_list_names_every_part_in_order(day, capsys):
    with pytest.raises(SystemExit) as stopped:
        day.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 0 and [line.split()[0] for line in lines] == list(day.PARTS)
    assert all(len(line) < 140 and line.split()[3:] for line in lines)


def test_the_scans_of_the_day():
    from gpu_day.jobs import LAYOUT_JOBS, OPERATOR_JOBS

    assert len({job.case + job.precision for job in LAYOUT_JOBS}) == len(LAYOUT_JOBS)
    assert {(job.size[0], job.size[1:], job.precision, job.backward) for job in LAYOUT_JOBS} == {
        (batch, sizes, precision, backward)
        for batch in (16, 256)
        for sizes in ((28, 28, 16), (28, 28, 64), (32, 32, 128))
        for precision in ("bf16", "tf32")
        for backward in (False, True)
    }
    assert LAYOUT_JOBS[0].case == "diagonal B16 28x28 h16, forward" and LAYOUT_JOBS[0].lines == 55
    assert {job.size[0] for job in OPERATOR_JOBS} == {16, 256} and {job.directions for job in OPERATOR_JOBS} == {2}


class MadeUpOps:
    """Operators of a scan. Plans have one kernel, and groups of 1 and 2; what a path computes is ``output(path)``."""

    def __init__(self, kernel, output):
        self.kernel, self.output = kernel, output

    def describe_plan(self, *sizes_and_path):
        *sizes, format, capability, path = sizes_and_path
        assert sizes == [1, 2, 3, 4, 8, 2, True] and (format, capability) == ("bf16", 0)
        if path == "auto":
            return (self._words(2),) * 2
        _, suffix, blocks, groups = path.split(":")
        fits = (suffix, int(blocks)) == (self.kernel.suffix, self.kernel.blocks[0]) and groups in "12"
        return (self._words(groups) if fits else "step path: no kernel is compiled for it",) * 2

    def _words(self, groups):
        return f"{self.kernel.name}: {self.kernel.blocks[0]} blocks an image, {64 * int(groups)} threads"

    def recurrence(self, x, weight, h0, c0, diagonal, reverse, path, tf32):
        assert weight.dtype == x.dtype == torch.bfloat16 and (diagonal, reverse, tf32) == (True, False, False)
        return (self.output(path),) * 3

    def recurrence_backward(self, dh, weight, c0, c, gates, diagonal, reverse, path, tf32):
        return self.output(path), None

    def line_scan_weight_grad(self, dx, h, *others):
        return (self.output("weight gradient"),) * 3


def layouts_measured(backward, output, skip=()):
    from gpu_day.jobs import ScanJob
    from gpu_day.scans import kernels, measure_layouts

    kernel = next(k for k in kernels() if (k.format, k.backward) == ("bf16", backward))
    job, events = ScanJob((2, 3, 4, 8), 1, "bf16", backward), []
    measure_layouts(job, set(skip), events.append, "cpu", MadeUpOps(kernel, output))
    (providers,) = [event["providers"] for event in events if "providers" in event]
    assert providers.pop() == "step"
    assert all(path.startswith(f"resident:{kernel.suffix}:{kernel.blocks[0]}:") for path in providers)
    running = [event["running"] for event in events if "running" in event]
    results = {event["provider"]: event for event in events if "provider" in event}
    assert running == list(results)  # each is announced, and reported before the next one
    step = results.pop("step")
    assert (step["status"], step["error"], step["chosen"]) == ("ok", 0, False)
    return providers, results


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_layouts_are_each_found_once_and_the_planners_comes_first(backward):
    providers, results = layouts_measured(backward, lambda path: torch.ones(3))
    assert [path.split(":")[3] for path in providers] == ["2", "1"] and list(results) == providers
    assert [result["chosen"] for result in results.values()] == [True, False]
    assert all(result["status"] == "ok" and result["error"] == 0 for result in results.values())
    _, results = layouts_measured(backward, lambda path: torch.ones(3), skip=providers[:1])
    assert list(results) == providers[1:]


def test_a_layout_that_is_wrong_or_raises_gets_no_time():
    def output(path):
        if path.split(":")[3:4] == ["1"]:
            raise RuntimeError("CUDA error\nmore")
        return torch.tensor([1.0, 2.0, 2.5 if path.startswith("resident") else 2.0])

    _, results = layouts_measured(False, output)
    wrong, raised = results.values()
    assert wrong["status"] == "mismatch" and wrong["note"] == "differs from the step path by 2.5e-01, allowed 1e-01"
    assert raised["status"] == "failed" and raised["note"] == "RuntimeError: CUDA error"
    _, results = layouts_measured(False, lambda path: torch.ones(3) * (float("nan") if "resident" in path else 1))
    assert {result["status"] for result in results.values()} == {"mismatch"}


def test_every_operator_is_measured():
    from gpu_day.jobs import ScanJob
    from gpu_day.scans import measure_operators

    events = []
    job = ScanJob((2, 3, 4, 8), 2, "bf16")
    measure_operators(job, {"backward"}, events.append, "cpu", MadeUpOps(None, lambda path: torch.ones(3)))
    reported = [event["provider"] for event in events if "provider" in event]
    assert reported == ["forward", "weight gradient", "step forward", "step backward"]
    assert events[0]["providers"] == ["forward", "backward", *reported[1:]]


def test_times_of_kernels():
    from gpu_day.kernels import by_kernel

    class Event:
        def __init__(self, name, microseconds, device="CUDA"):
            self.name, self.device_type = name, getattr(torch.autograd.DeviceType, device)
            self.time_range = torch.autograd.profiler_util.Interval(100.0, 100.0 + microseconds)

    calls = [[Event("pack_bf16", 2), Event("forward_x", us), Event("gemm", 1), Event("gemm", 3)] for us in (20, 90, 22)]
    events = [event for call in calls for event in call] + 3 * [Event("aten::mm", 500, "CPU")] + [Event("Memset", 1)]
    assert by_kernel(events, 3) == {"pack_bf16": (1, 2), "forward_x": (1, 22), "gemm": (2, 4)}
    assert by_kernel([], 3) == {}


PLAN = (
    "{kernel}: {blocks} block{s} an image, {threads} threads, 4096 bytes of shared memory, {at_once} at once; "
    "expected 0.02 ms, {cycles} cycles a line, by a model, nvcc 13.0.88"
)


START = 2000 + 4096 / 32  # cycles before the first line of 28x28 h16, one block a multiprocessor


def plan_text(kernel="forward_bf16_2_1_256_single", blocks=1, threads=256, at_once=132, cycles=600):
    return PLAN.format(s="s" * (blocks > 1), **locals())


def layout(provider, us, *, chosen=False, times=True, case="diagonal B16 28x28 h16, forward", **others):
    plan = others.setdefault("plan", plan_text())
    kernels = {"pack_bf16": (1, 2.0), plan.partition(":")[0]: (1, us)} if times else {}
    names = {"case": case, "precision": "bf16", "provider": f"resident:{provider}"}
    measured = {"times": kernels, "call_us": us + 9, "device_us": us + 3, "mhz": 1700.0, "error": 1e-3}
    return {**names, "status": "ok", "chosen": chosen, **measured, **others}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_fastest_layouts_and_the_planners_are_shown():
    from gpu_day.scan_tables import layouts_table

    results = [layout(f"2_1_256:1:{g}", us, chosen=g == 5) for g, us in enumerate((22, 20, 40, 25, 30, 50), 1)]
    rows = cells(layouts_table([*results, layout("8_1_256:1:1", 1.0, status="mismatch", note="wrong")], 132))
    assert [row[2].split(":")[2] for row in rows] == ["2", "1", "4", "5"]
    over = [f"{us / 22:.2f}" for us in (22, 24, 27, 32)]  # with the packing
    assert [row[-2:] for row in rows] == list(map(list, zip(over, ["best", "", "", "the planner's"])))
    assert rows[0][3:8] == ["20.0", "2.0", "23.0", "20.0", "1.15"]
    cycles = (20 * 1700 - START) / 55
    assert rows[0][8:12] == [f"{cycles:.0f}", "600", f"{cycles / 600:.2f}", "132"]
    assert rows[3][7] == "1.65 !" and rows[3][10] == f"{(30 * 1700 - START) / 55 / 600:.2f} !"
    (row,) = cells(layouts_table([layout("2_1_256:1:1", 20, times=False, mhz=None, plan="words")], 132))
    assert row[3:11] == ["-", "-", "23.0", "-", "-", "-", "-", "-"]
    assert layouts_table([], 132) == "None."
    step = {**layout("", 30, times=False, chosen=True, plan="step path: expected 0.02 ms"), "provider": "step"}
    rows = cells(layouts_table([step, layout("2_1_256:1:1", 38)], 132))
    assert [(row[2], row[-1]) for row in rows] == [("step", "best, the planner's"), ("2_1_256:1:1", "")]  # as called


def test_cycles_of_a_line_are_those_of_one_wave():
    from gpu_day.costs import FIRST_LINE, WEIGHTS_OF_CYCLE, line_cycles

    header = (ROOT / "csrc/cuda/plan.h").read_text()
    assert (
        f"double first_line = {FIRST_LINE:g};" in header
        and f"double weights_of_cycle = {WEIGHTS_OF_CYCLE:g};" in header
    )
    case = "diagonal B256 28x28 h16, both directions, forward"  # 512 blocks, 55 lines

    def cycles(at_once, bound=""):
        return line_cycles(layout("2_1_256:1:1", 100.0, case=case, plan=plan_text(at_once=at_once) + bound), 132)

    # The planner counts the start of a wave apart: 2000 cycles, and 4 KB of weights of each block of a multiprocessor.
    of_waves = [(100.0 * 1700 / waves - 2000 - blocks * 4096 / 32) / 55 for waves, blocks in ((1, 4), (2, 2), (2, 3))]
    assert cycles(512) == cycles(1000) == pytest.approx(of_waves[0])
    assert cycles(256) == pytest.approx(of_waves[1])
    assert cycles(290) == pytest.approx(of_waves[2])  # the last of two waves is three quarters full
    assert cycles(300) is None
    assert cycles(512, ", bound by memory") is None
    # Four images in a cluster of 8: 128 clusters, 8 waves of 16.
    plan = plan_text(at_once=16).replace("1 block an image", "8 blocks for 4 images")
    shared = line_cycles(layout("8_1_256_images:8:4", 100.0, case=case, plan=plan), 132)
    assert shared == pytest.approx((100.0 * 1700 / 8 - 2000 - 4096 / 8 / 32) / 55)


def test_the_planners_table_from_measurements(tmp_path):
    from gpu_day import cost_table
    from gpu_day.costs import measured_table, write_costs

    kernel, other = "forward_bf16_2_1_256_single", "forward_bf16_8_1_256_cluster"
    exact = (600 * 55 + START) / 1700  # microseconds as the plan of layout() expects
    twice = (1200 * 55 + START) / 1700
    results = [
        layout("2_1_256:1:4", exact, plan=plan_text(kernel)),  # 16 blocks of 8 warps: 2 a scheduler
        layout("2_1_256:1:4", twice, plan=plan_text(kernel)),
        layout("8_1_256:8:4", (1200 * 55 + 2016) / 1700, plan=plan_text(other, 8, 128, 16)),  # 128 blocks of 4 warps
        layout("2_1_256:1:4", 1.0, plan=plan_text(kernel), status="mismatch"),
        layout("2_1_256:1:3", exact, plan=plan_text(kernel, threads=192)),  # 1.5 warps: no column
    ]
    before, (after, count) = cost_table.read(), measured_table(results, "a card", 132)
    assert count == 2 and after.source == "measurements on a card"
    old, new = ({row.kernel: row.costs for row in table.rows} for table in (before, after))
    assert new[kernel][1].line == pytest.approx(1.5 * old[kernel][1].line)
    assert new[other][0].line == pytest.approx(2 * old[other][0].line)

    data = {"environment": {"card": "a card, 80 GiB", "multiprocessors": 132}, "layouts": results}
    said = write_costs(tmp_path, data)
    assert said == f"2 of {4 * len(before.rows)} figures of the planner's table measured: costs.h, for csrc/cuda"
    written = cost_table.read(tmp_path / "costs.h")
    assert written.source == after.source and [row.kernel for row in written.rows] == list(old)
    nothing = write_costs(tmp_path, {**data, "layouts": [layout("2_1_256:1:4", exact, times=False)]})
    assert nothing == "no table for the planner, since no layout's cycles are known"


def test_kernels_of_an_operator_are_divided():
    from gpu_day.scan_tables import operators_table

    times = {"pack_bf16": (1, 2.0), "backward_bf16_4_4_256_single": (1, 30.0), "sum": (3, 4.5)}
    backward = {**layout("", 1, times=False, device_us=None), "provider": "backward", "times": times}
    (row,) = cells(operators_table([backward]))
    assert row[2:] == ["backward", "2.0", "30.0", "4.5", "5", "-", "10.0"]


def microbenchmark_names():
    from gpu_day import micro

    header = (micro.FOLDER / "kernels.h").read_text()
    return re.findall(r"^  X\((\w+), \d", header, re.MULTILINE)


def test_every_microbenchmark_measures_a_constant():
    from gpu_day import micro

    names = microbenchmark_names()
    assert len(names) == len(set(names)) > 30
    used = {name for constant in micro.CONSTANTS for name in compile(constant.cycles, "", "eval").co_names}
    assert used | micro.ERRORS.keys() == set(names)


def test_the_constants_are_those_of_the_model():
    from gpu_day.micro import CONSTANTS
    from sass_model import model

    def value(name):
        table, _, entry = name.partition(" ")
        if table == "CCTL.IVALL":
            return 0  # nothing but its scoreboard
        found = getattr(model, table)
        return found if not entry else found[entry][0] if table == "PIPES" else found[entry]

    assert {constant.name: constant.model for constant in CONSTANTS} == {c.name: value(c.name) for c in CONSTANTS}


def test_constants_of_the_model_beside_what_was_measured():
    from gpu_day.scan_tables import micro_table

    found = [
        {"name": "block_barrier_256", "status": "ok", "cycles": 30.0},
        {"name": "block_barrier_512", "status": "ok", "cycles": 31.0},
        {"name": "branch_every_8", "status": "ok", "cycles": 5.0},
        {"name": "branch_every_64", "status": "ok", "cycles": 4.125},
        {"name": "wait_cta", "status": "failed", "note": "hangs"},
        {"name": "ex2_error", "status": "ok", "ulp": 1.2},
        {"name": "rcp_error", "status": "ok", "ulp": 1.01},
    ]
    rows = {(row[0], row[3]): (row[1], row[2], row[4]) for row in cells(micro_table(found))}
    assert rows == {
        ("BLOCK_BARRIER", "bar.sync, 256 threads"): ("25", "30.0", ""),
        ("BLOCK_BARRIER", "bar.sync, 512 threads"): ("25", "31.0", "off by more than 20%"),
        ("BRANCH", "taken branch"): ("8", "8.0", ""),
        ("ex2_error", "largest error of all floats"): ("2 ulp", "1.20 ulp", ""),
        ("rcp_error", "largest error of all floats"): ("1 ulp", "1.01 ulp", "more than documented"),
    }


PROGRAM = """#!{python}
import json, sys, time
names = sys.argv[1:]
if not names:
    print("one two three four five")
for name in names:
    if name == "two":
        sys.exit("an illegal instruction was encountered")
    if name == "four":
        sys.stdout.flush()
        time.sleep(60)
    print(json.dumps({{"name": name, "cycles": 1.5}}))
"""


def test_a_microbenchmark_that_fails_or_hangs_costs_no_other(tmp_path, monkeypatch):
    from gpu_day import micro

    compiler = tmp_path / "nvcc"  # it "compiles" a program that misbehaves
    compiler.write_text(f"#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\ncp {tmp_path / 'program'} $1\n")
    (tmp_path / "program").write_text(PROGRAM.format(python=sys.executable))
    for file in ("nvcc", "program"):
        (tmp_path / file).chmod(0o755)
    monkeypatch.setattr(micro, "nvcc", lambda: str(compiler))
    monkeypatch.setattr(micro, "TOGETHER", 2.0)
    found = []
    micro.measure("9.0", tmp_path / "micro.log", 60, found.append)
    assert {r["name"]: (r["status"], r.get("note")) for r in found} == {
        "one": ("ok", None),
        "two": ("failed", "an illegal instruction was encountered"),
        "three": ("ok", None),
        "four": ("failed", "no answer within 2 s"),
        "five": ("ok", None),
    }
    assert "an illegal instruction" in (tmp_path / "micro.log").read_text()
    found.clear()
    micro.measure("9.0", tmp_path / "micro.log", 0.5, found.append)
    assert {r["status"] for r in found} == {"not run"} and len(found) == 5
    compiler.write_text("#!/bin/sh\necho broken; exit 1\n")
    with pytest.raises(RuntimeError, match="do not compile; see micro.log"):
        micro.measure("9.0", tmp_path / "micro.log", 60, found.append)


def test_without_nvcc_the_microbenchmarks_say_so(monkeypatch):
    from gpu_day import micro

    monkeypatch.setattr(micro.shutil, "which", lambda name: None)
    monkeypatch.setenv("CUDA_HOME", "/nowhere")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    with pytest.raises(FileNotFoundError, match="got none as /nowhere/bin/nvcc$"):
        micro.nvcc()


def nvidia_smi(folder, monkeypatch, script):
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def sampled():
    from gpu_day.clock import Sampler

    with Sampler() as sampler:
        time.sleep(0.5)
    return sampler.found()


def test_clocks_are_sampled(tmp_path, monkeypatch):
    rows = "echo 1980, 1980, 110.5, 40, 0x0000000000000000; echo 1755, 1980, 700.0, 60, 0x0000000000000004"
    nvidia_smi(tmp_path, monkeypatch, f"{rows}; echo 1600, 1980, [N/A], 61, 0x0000000000000001; exec sleep 60")
    found = sampled()
    assert found == {
        "samples": 3,
        "SM clock, MHz": [1600, 1755, 1980],
        "highest, MHz": [1980, 1980, 1980],
        "power, W": [110.5, 405.25, 700.0],
        "temperature, C": [40, 60, 61],
        "reasons": ["0x0000000000000004"],
    }
    from gpu_day.scan_tables import clocks_table

    (row,) = cells(clocks_table({"layouts": found}))
    assert row[:3] == ["layouts", "1600 / 1755 / 1980", "1980 / 1980 / 1980"]
    assert row[3:] == ["110.5 / 405.25 / 700", "40 / 60 / 61", "0x0000000000000004"]


def test_without_clocks_there_is_a_reason(tmp_path, monkeypatch):
    nvidia_smi(tmp_path, monkeypatch, "echo No devices were found; exit 6")
    assert sampled() == {"samples": 0, "note": "nvidia-smi: No devices were found"}
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert sampled() == {"samples": 0, "note": "nvidia-smi: it does not start: No such file or directory"}


def test_the_sm_clock_by_two_pauses(monkeypatch):
    from gpu_day import clock
    from harness import timing

    slept = []

    class Event:
        def record(self):
            pass

        synchronize = record

        def elapsed_time(self, end):
            return (slept[-1] / 1500 + 7) / 1e3  # at 1500 MHz, and 7 us for the launch

    monkeypatch.setattr(timing, "events", lambda: (Event(), Event()))
    monkeypatch.setattr(torch.cuda, "_sleep", slept.append)
    assert clock.sm_megahertz() == pytest.approx(1500)
    monkeypatch.setattr(Event, "elapsed_time", lambda self, end: 0.0)
    assert clock.sm_megahertz() is None


def test_ctrl_c_keeps_the_layouts_that_are_there(day, with_a_gpu, monkeypatch, tmp_path):
    events = [{"providers": ["a", "b"]}, {"running": "a"}, ok("a"), {"running": "b"}, KeyboardInterrupt()]
    monkeypatch.setattr(day, "Worker", lambda work: Scripted(events))
    assert day.main(["--out", str(tmp_path), "--only", "layouts"]) == 130
    (kept,) = saved(tmp_path)["layouts"]
    assert (kept["provider"], kept["status"], kept["part"]) == ("a", "ok", "layouts")
    assert saved(tmp_path)["parts"]["layouts"]["status"] == "interrupted"


def test_a_full_disk_costs_the_file_but_not_the_report(day, with_a_gpu, monkeypatch, tmp_path, capsys):
    from gpu_day import results

    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("resident", case=job.case)])
    write = Path.write_text

    def full(self, text, *args, **options):
        if self.suffix == ".tmp":
            write(self, text[:10])
            raise OSError(28, "No space left on device")
        return write(self, text, *args, **options)

    monkeypatch.setattr(results.Path, "write_text", full)
    assert day.main(["--out", str(tmp_path), "--only", "small,verdict"]) == 1
    printed = capsys.readouterr()
    assert f"gpu_day: cannot write {tmp_path / 'results.json'}: No space left on device\n" in printed.err
    assert "| resident" in printed.out and not list(tmp_path.iterdir())


@pytest.mark.emulated
@pytest.mark.parametrize("arch", [80, 90, 100, 120])
def test_the_microbenchmarks_compile_without_a_warning(arch, tmp_path):
    from gpu_day import micro

    program = tmp_path / "microbenchmarks"
    command = micro.command(micro.nvcc(), f"{arch / 10}", program)
    done = subprocess.run(["nice", *command, "-Xcompiler", "-Wall,-Wextra,-Werror"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    listed = subprocess.run([program], capture_output=True, text=True)
    assert listed.stdout.split() == microbenchmark_names()


@pytest.mark.emulated
def test_the_microbenchmarks_are_right_on_the_emulator():
    """Their barriers and addresses; its clock stands still. Its approximations are off by what is documented."""
    import ctypes

    from emulator import toolchain
    from emulator.control import Emulator

    kernels, host = ROOT / "benchmarks/gpu_day/microbenchmarks/kernels.cu", ROOT / "tests/emulated/microbenchmarks.cpp"
    sources = {"kernels": [kernels], "host": [host], "include_dirs": [ROOT / "csrc"]}
    library = toolchain.library("microbenchmarks", **sources, arch="sm_90", flags=["-DPIXELRNN_EMULATED"])
    emulator = Emulator(library)
    emulator.device("sm_90")
    run = emulator.library.run_microbenchmark
    run.restype = ctypes.c_char_p
    answers = {name: run(name.encode(), 16).decode() for name in microbenchmark_names()}
    assert set(answers.values()) == {""}, answers
    emulator.device("sm_80")
    assert run(b"round_trip_2", 16).decode() == ""  # left out


@pytest.mark.emulated
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_every_layout_that_is_named_runs(backward):
    from emulated import library
    from gpu_day.costs import expected
    from gpu_day.jobs import ScanJob
    from gpu_day.scans import measure_layouts

    events = []
    job = ScanJob((2, 9, 5, 16), 1, "bf16", backward)
    measure_layouts(job, set(), events.append, "cpu", library.load().ops)
    found = {event["provider"]: event for event in events if "provider" in event}
    assert list(found) == events[0]["providers"] and {event["status"] for event in found.values()} == {"ok"}, found
    assert sum(event["chosen"] for event in found.values()) == 1
    del found["step"]
    plans = [(event["plan"], expected(event["plan"])) for event in found.values()]
    assert all(words and plan.startswith(f"{words.kernel}: {words.blocks} block") for plan, words in plans), plans
    assert {path.split(":")[2] for path in found} == {"1", "2"}


@pytest.mark.emulated
def test_a_layout_of_the_forward_needs_none_of_the_backward():
    """The backward has more rows, hence fewer groups of warps."""
    from emulated import library
    from gpu_day.jobs import ScanJob
    from gpu_day.scans import Scan

    scan = Scan(ScanJob((1, 57, 1, 128), 1, "bf16", backward=False), "cpu", library.load().ops)
    (path, *_) = [path for path in scan.layouts() if path.split(":")[2:4] == ["8", "8"]]
    scan.job = scan.job._replace(backward=True)
    assert scan.plan(path).startswith("step path: ")
    assert (scan.forward(path)[0] - scan.forward("step")[0]).abs().max() < 0.05


@pytest.mark.emulated
def test_every_operator_runs():
    from emulated import library
    from gpu_day.jobs import ScanJob
    from gpu_day.scans import measure_operators

    events = []
    measure_operators(ScanJob((2, 5, 4, 16), 2, "bf16"), set(), events.append, "cpu", library.load().ops)
    assert [event["status"] for event in events if "provider" in event] == ["ok"] * 5, events
