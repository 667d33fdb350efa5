"""benchmarks/gpu_day.py, as far as it goes without a GPU."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from workers import work

import pixelrnn_ext as px

ROOT = Path(__file__).resolve().parents[1]
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(autouse=True)
def day(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_day

    return gpu_day


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
        (["--out", "{}", "--minutes", "1"], "expected at least 3, got 1"),
        (["--out", "{}", "--minutes", "nan"], "expected at least 3, got nan"),
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
    from floors import FLOORS, floor

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
    from floors import FLOORS
    from gpu_providers import CASES

    for name, case in FLOORS.items():
        size = CASES[name].size
        assert case.steps == (size.height if name.startswith("row") else size.height + size.width - 1)


def test_every_job_has_a_case_and_every_floor_its_jobs():
    from floors import FLOORS
    from gpu_jobs import JOBS
    from gpu_providers import CASES, PRECISIONS

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
    from gpu_verdict import verdicts

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
    from gpu_verdict import counts, verdicts

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
    import gpu_report

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
    text = gpu_report.markdown(data)
    assert "- card: a card\n- driver: unknown" in text
    assert f"- {MNIST} fp32, step: failed (because)\n- {MNIST} tf32, all providers: not run (because)" in text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    rows = [row for row in rows if row[1:3] == [MNIST, "fp32"]]
    assert [row[9] for row in rows[:3]] == ["PASS", "PASS", "not run"]  # its three verdicts
    assert rows[3][3:5] == ["resident", "100.0"] and len(rows) == 4  # and its measurement


def test_plots_need_matplotlib_and_measurements(tmp_path, monkeypatch):
    import gpu_report

    data = {"environment": {"card": "a card"}, "parts": {}, "measurements": []}
    if gpu_report.importlib.util.find_spec("matplotlib"):
        assert gpu_report.plot(tmp_path, data) == "no plots, since nothing was measured"
        data["measurements"] = [measurement("resident"), measurement("good loop")]
        assert gpu_report.plot(tmp_path, data) == "forward_backward.png, over_floor.png"
        assert all((tmp_path / name).stat().st_size > 1000 for name in ("forward_backward.png", "over_floor.png"))
    monkeypatch.setattr(gpu_report.importlib.util, "find_spec", lambda name: None)
    assert gpu_report.plot(tmp_path, data) == "no plots, since matplotlib is not installed"


def test_budget(day):
    now = 100.0
    budget = day.Budget(530, list(day.PARTS), lambda: now)
    assert budget.of("build") == 240
    now += 300  # a slow build leaves what it must to the others
    assert budget.left() == 230
    assert budget.of("check") == 60
    now += 10  # a quick check leaves more to the benchmarks
    assert budget.of("small") == 220 - 40 - 0 - 10 - 5 - 45
    now += 175
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
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture
def job():
    from gpu_jobs import Job

    return Job(MNIST, "fp32", seconds=10.0)


PROVIDERS = {"providers": ["good loop", "step", "resident"]}


def ok(name):
    return {"provider": name, "status": "ok"}


def statuses(measurements):
    assert all((m["case"], m["precision"]) == (MNIST, "fp32") for m in measurements)
    return {m["provider"]: m["status"] for m in measurements}


def test_a_job_without_time_is_listed_as_not_run(day, job):
    worker = Scripted()
    (result,) = day.run_job(job, worker, 9.0)
    assert (result["status"], result["provider"], result["note"]) == ("not run", None, "9 s left, it is given 10 s")
    assert not worker.requests


def test_a_provider_that_crashes_costs_the_others_nothing(day, job):
    from worker import Gone

    worker = Scripted(
        [PROVIDERS, {"running": "good loop"}, {"running": "step"}, Gone("its process ended with SIGSEGV")],
        [{"running": "resident"}, {"running": None}, ok("good loop"), ok("resident")],
    )
    measurements = day.run_job(job, worker, 100.0)
    assert statuses(measurements) == {"step": "failed", "good loop": "ok", "resident": "ok"}
    assert measurements[0]["note"] == "its process ended with SIGSEGV"
    (_, first), (again, _) = worker.requests
    assert first == 2 * 10 + day.START and again == (job, {"step"})


def test_a_crash_of_no_one_in_particular_fails_all(day, job):
    from worker import Gone, TimedOut

    gone = Gone("its process ended with exit status 1")
    assert statuses(day.run_job(job, Scripted([gone]), 100.0)) == {None: "failed"}
    during_timing = [PROVIDERS, {"provider": "step", "status": "cannot run"}, {"running": None}, gone]
    expected = {"step": "cannot run", "good loop": "failed", "resident": "failed"}
    assert statuses(day.run_job(job, Scripted(during_timing), 100.0)) == expected
    # A job that its own limit ends has failed; one that the end of the part ends has not run.
    hung = [PROVIDERS, {"running": None}, TimedOut("no answer within 40 s")]
    assert set(statuses(day.run_job(job, Scripted(hung), 100.0)).values()) == {"failed"}
    assert set(statuses(day.run_job(job, Scripted(hung), 30.0)).values()) == {"not run"}


def test_the_loop_beside_the_compiled_one_is_not_listed_twice(day, job):
    name = "good loop, compiled"
    worker = Scripted([{"providers": ["good loop", name]}, ok("good loop"), ok(name)])
    assert statuses(day.run_job(job._replace(compiled=True), worker, 100.0)) == {name: "ok"}
    assert statuses(day.run_job(job._replace(compiled=True), worker, 0.0)) == {name: "not run"}


@pytest.mark.parametrize(
    ("item", "seconds", "message"),
    [
        ("exit", 30, "its process ended with exit status 3"),
        ("crash", 30, "its process ended with SIGSEGV"),
        ("raise", 30, "its process ended with exit status 4"),
        ("hang", 1, "no answer within 1 s"),
    ],
)
def test_worker(item, seconds, message):
    from worker import Gone, TimedOut, Worker

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


FACTS = {"torch": torch.__version__, "CUDA": "13.0", "card": "a card", "architecture": "9.0", "cuDNN": 1}
CONFIG = {"cuda_archs": "9.0+PTX", "why_no_cuda": None}


@pytest.fixture
def with_a_gpu(day, monkeypatch):
    monkeypatch.setattr(day, "probe", lambda folder: (FACTS, CONFIG))
    monkeypatch.setattr(day, "output", lambda *command: None)


def results(folder):
    return json.loads((folder / "results.json").read_text())


def interrupted_in_the_third_job(day, monkeypatch):
    from gpu_jobs import JOBS

    def run_job(job, worker, seconds):
        if job == JOBS[2]:
            raise KeyboardInterrupt
        return [measurement("resident", case=job.case, precision=job.precision)]

    monkeypatch.setattr(day, "run_job", run_job)
    return JOBS[:2]


def test_an_interrupted_run_keeps_what_it_has(day, with_a_gpu, monkeypatch, tmp_path, capsys):
    done = interrupted_in_the_third_job(day, monkeypatch)
    assert day.main(["--out", str(tmp_path), "--only", "build,small,verdict"]) == 130
    data = results(tmp_path)
    assert [(m["case"], m["precision"]) for m in data["measurements"]] == [job[:2] for job in done]
    assert {name: part["status"] for name, part in data["parts"].items()} == {
        "build": "ok", "check": "not run", "small": "interrupted", "tests": "not run", "large": "not run",
        "plots": "not run", "verdict": "not run", "sanitizer": "not run",
    }  # fmt: skip
    assert data["environment"]["card"] == "a card" and "benchmarks.gpu_day --out" in data["environment"]["command"]
    printed = capsys.readouterr().out
    assert "PASS" in printed and "| resident" in printed
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    # The other parts can be added, to results of the same card only.
    assert day.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert len(results(tmp_path)["measurements"]) == 2
    assert day.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert len(results(tmp_path)["measurements"]) == 2
    monkeypatch.setattr(day, "probe", lambda folder: ({**FACTS, "card": "another"}, CONFIG))
    assert day.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert results(tmp_path)["measurements"] == []


def test_a_part_that_raises_is_recorded_and_the_rest_goes_on(day, with_a_gpu, monkeypatch, tmp_path):
    def broken(*command, **options):
        raise OSError("no pip")

    monkeypatch.setattr(day.commands, "run", broken)
    monkeypatch.setattr(day, "run_job", lambda job, worker, seconds: [measurement("resident", case=job.case)])
    assert day.main(["--out", str(tmp_path)]) == 1
    parts = results(tmp_path)["parts"]
    for name in ("check", "tests", "sanitizer"):
        assert parts[name]["status"] == "failed" and parts[name]["note"].startswith("OSError: no pip")
    assert {parts[name]["status"] for name in ("build", "small", "large", "plots", "verdict")} == {"ok"}


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
        if "pytest" not in command:
            done.append("build")
            monkeypatch.setattr(day, "probe", lambda folder: (FACTS, CONFIG))
            return 0
        selection = [word for word in command if word.startswith(("tests/", "--ignore"))]
        done.append((selection, environment))
        Path(next(word for word in command if word.startswith("--junitxml=")).partition("=")[2]).write_text(PYTEST)
        return 1

    def run_job(job, worker, seconds):
        done.append(job)
        return [measurement("resident", case=job.case, precision=job.precision)]

    monkeypatch.setattr(day, "probe", lambda folder: (FACTS, {"cuda_archs": None, "why_no_cuda": "no nvcc"}))
    monkeypatch.setattr(day.commands, "run", command)
    monkeypatch.setattr(day, "run_job", run_job)
    return done


def test_what_tells_most_comes_first(day, all_parts, tmp_path, capsys):
    from gpu_jobs import LARGE_JOBS, SMALL_JOBS

    assert day.main(["--out", str(tmp_path)]) == 1
    tests = [entry for entry in all_parts if isinstance(entry, tuple) and isinstance(entry[0], list)]
    check, others, sanitizer = tests
    assert all_parts == ["build", check, *SMALL_JOBS, others, *LARGE_JOBS, sanitizer]
    parts = ["build", "check", "small", "tests", "large", "plots", "verdict", "sanitizer"]
    assert list(results(tmp_path)["parts"]) == parts
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
    data = results(tmp_path)
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
    assert files >= {"results.json", "build.log", "check.log", "tests.log", "sanitizer.log"} and len(files) <= 8
    assert {Path(name).suffix for name in files} <= {".json", ".log", ".png"}
    # The report is printed, and again from that file alone.
    report = capsys.readouterr().out
    assert "- check: test_cuda::test_b: AssertionError: h: error ratio 1e-2\n" in report
    assert day.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert capsys.readouterr().out.partition("## Tests")[2] == report.partition("## Tests")[2]


def test_a_part_that_runs_again_replaces_its_measurements_alone(day, with_a_gpu, monkeypatch, tmp_path):
    from gpu_jobs import JOBS

    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("step", case=job.case, precision=job.precision)])
    for parts in ("small,large", "small"):
        assert day.main(["--out", str(tmp_path), "--only", parts]) == 0
        assert len(results(tmp_path)["measurements"]) == len(JOBS)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    import gpu_results

    saved = gpu_results.Results(tmp_path)
    saved.add("small", [measurement("step")])
    monkeypatch.setattr(gpu_results.json, "dumps", lambda *args, **options: "{ torn" + 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved.add("small", [measurement("resident")])
    monkeypatch.undo()
    assert len(results(tmp_path)["measurements"]) == 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (CONFIG, None),
        ({"cuda_archs": "8.0;9.0;10.0+PTX", "why_no_cuda": None}, None),
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
    from gpu_tests import judge, read

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
    import gpu_measure
    import gpu_providers

    small = {name: replace(case, size=case.size.tiny()) for name, case in gpu_providers.CASES.items()}
    monkeypatch.setattr(gpu_measure, "CASES", small)
    monkeypatch.setattr(gpu_measure, "TIMING", {"seconds": 0.0, "fewest": 2})
    return gpu_measure


def measured(module, case, precision="fp32", skip=()):
    from gpu_jobs import Job

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
    from problems import Differentiable

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
    import timing

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
    monkeypatch.setattr(timing, "_events", lambda: (Event(needed), Event(needed)))
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
