"""The command of the GPU day and its parts, as far as they go without a GPU (benchmarks/gpu_day/command.py, day.py)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpu_day import card, command, day, micro, results, stoppable
from gpu_day.jobs import JOBS, LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS
from gpu_day.parts import LEAST, PARTS, Budget
from gpu_day.pytest_runs import judge, read
from helpers import child
from helpers.root import ROOT

from .made_up_day import Scripted, measurement, ok

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def program(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_day", *map(str, arguments)],
        cwd=ROOT,
        env=child.environment(),
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


def test_the_command_imports_nothing_that_it_may_build():
    program = "import gpu_day.command, sys; print('pixelrnn_ext' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


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
def test_bad_arguments(arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        command.main([argument.format(tmp_path) for argument in arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and "error: " in error


def test_list_names_every_part_in_order(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 0 and [line.split()[0] for line in lines] == list(PARTS)
    assert all(len(line) < 140 and line.split()[3:] for line in lines)


@pytest.mark.parametrize("content", [None, "{ torn"])
def test_a_verdict_alone_needs_earlier_results(content, tmp_path, capsys):
    if content:
        (tmp_path / "results.json").write_text(content)
    assert command.main(["--out", str(tmp_path), "--only", "verdict"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gpu_day: expected ") and error.count("\n") == 1


def test_budget():
    now = 100.0
    budget = Budget(530, list(PARTS), lambda: now)
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
    assert sum(part.least for part in PARTS.values()) <= 60 * LEAST - 10
    assert Budget(100, ["tests"], lambda: now).of("tests") == 100


FACTS = {"torch": torch.__version__, "CUDA": "13.0", "card": "a card", "multiprocessors": 132, "architecture": "9.0"}


CONFIG = {"cuda": "12.9", "cuda_archs": "8.6;9.0+PTX", "why_no_cuda": None, "why_no_gpu": None}
OTHER_GPUS = {**CONFIG, "cuda_archs": "8.6", "why_no_gpu": "expected a GPU of 8.6, got 9.0"}
NO_KERNELS = dict.fromkeys(CONFIG) | dict.fromkeys(("why_no_cuda", "why_no_gpu"), "PIXELRNN_CUDA=0")


@pytest.fixture
def with_a_gpu(monkeypatch):
    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, CONFIG))
    monkeypatch.setattr(card, "output", lambda *command: None)


def saved(folder):
    return json.loads((folder / "results.json").read_text())


def interrupted_in_the_third_job(monkeypatch):
    def run_job(job, worker, seconds, keep):
        if job == JOBS[2]:
            raise KeyboardInterrupt
        return [measurement("resident", case=job.case, precision=job.precision)]

    monkeypatch.setattr(day, "run_job", run_job)
    return JOBS[:2]


def test_an_interrupted_run_keeps_what_it_has(with_a_gpu, monkeypatch, tmp_path, capsys):
    done = interrupted_in_the_third_job(monkeypatch)
    assert command.main(["--out", str(tmp_path), "--only", "build,small,verdict"]) == 130
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
    assert command.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert len(saved(tmp_path)["measurements"]) == 2
    assert command.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert len(saved(tmp_path)["measurements"]) == 2
    monkeypatch.setattr(card, "probe", lambda folder: ({**FACTS, "card": "another"}, CONFIG))
    assert command.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert saved(tmp_path)["measurements"] == []


def test_ctrl_c_keeps_the_layouts_that_are_there(with_a_gpu, monkeypatch, tmp_path):
    events = [{"providers": ["a", "b"]}, {"running": "a"}, ok("a"), {"running": "b"}, KeyboardInterrupt()]
    monkeypatch.setattr(day, "Worker", lambda work: Scripted(events))
    assert command.main(["--out", str(tmp_path), "--only", "layouts"]) == 130
    (kept,) = saved(tmp_path)["layouts"]
    assert (kept["provider"], kept["status"], kept["part"]) == ("a", "ok", "layouts")
    assert saved(tmp_path)["parts"]["layouts"]["status"] == "interrupted"


def test_a_part_that_raises_is_recorded_and_the_rest_goes_on(with_a_gpu, monkeypatch, tmp_path):
    def broken(*command, **options):
        raise OSError("no pip")

    monkeypatch.setattr(stoppable, "run", broken)
    monkeypatch.setattr(micro, "measure", broken)
    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("resident", case=job.case)])
    assert command.main(["--out", str(tmp_path)]) == 1
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
def all_parts(with_a_gpu, monkeypatch):
    """The order of what a whole run does, and what its tests are given; the card has no kernels yet."""
    done = []

    def run(command, log, seconds, cwd, **environment):
        log.write_text("1 passed")
        if "pytest" not in command:
            done.append("build")
            monkeypatch.setattr(card, "probe", lambda folder: (FACTS, CONFIG))
            return 0
        selection = [word for word in command if word.startswith(("tests/", "--ignore"))]
        done.append((selection, environment))
        Path(next(word for word in command if word.startswith("--junitxml=")).partition("=")[2]).write_text(PYTEST)
        return 1

    def run_job(job, worker, seconds, keep):
        done.append(job)
        return [measurement("resident", case=job.case, precision=job.precision)]

    def measure(architecture, seconds, report):
        done.append("micro")
        report({"name": "stores", "status": "ok", "cycles": 1.5})

    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, NO_KERNELS))
    monkeypatch.setattr(micro, "measure", measure)
    monkeypatch.setattr(stoppable, "run", run)
    monkeypatch.setattr(day, "run_job", run_job)
    return done


def test_what_tells_most_comes_first(all_parts, tmp_path, capsys):
    assert command.main(["--out", str(tmp_path)]) == 1
    tests = [entry for entry in all_parts if isinstance(entry, tuple) and isinstance(entry[0], list)]
    check, others, sanitizer = tests
    scans = [*LAYOUT_JOBS, "micro", *OPERATOR_JOBS]
    assert all_parts == ["build", check, *scans, *SMALL_JOBS, others, *LARGE_JOBS, sanitizer]
    parts = ["build", "check", "layouts", "micro", "operators", "small", "tests", "large", "plots", "verdict"]
    assert list(saved(tmp_path)["parts"]) == [*parts, "sanitizer"]
    # The three are all tests, and none twice.
    assert check[0][0] == "tests/scan/cuda/card/test_kernels.py" and sanitizer[0] == [
        "tests/scan/cuda/card/test_sanitizer.py"
    ]
    assert others[0] == [f"--ignore={file}" for file in (check[0][0], *sanitizer[0])]
    for selection, environment in tests:
        assert environment["PIXELRNN_TUNE_TILES"] == "0"
        files = [word.removeprefix("--ignore=").partition("::")[0] for word in selection]
        assert all((ROOT / file).exists() for file in files)
    assert 10 < float(sanitizer[1]["PIXELRNN_SANITIZER_SECONDS"]) < 60


def test_everything_but_logs_and_plots_is_in_one_file(all_parts, tmp_path, capsys):
    command.main(["--out", str(tmp_path)])
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
    logs = {f"{part}.log" for part in ("build", "check", "tests", "sanitizer")}
    assert files >= {"results.json", *logs} and len(files) <= 8
    assert {Path(name).suffix for name in files} <= {".json", ".log", ".png"}
    # The report is printed, and again from that file alone.
    report = capsys.readouterr().out
    assert "- check: test_cuda::test_b: AssertionError: h: error ratio 1e-2\n" in report
    assert command.main(["--out", str(tmp_path), "--only", "verdict"]) == 0
    assert capsys.readouterr().out.partition("## Tests")[2] == report.partition("## Tests")[2]


def test_a_part_that_runs_again_replaces_its_measurements_alone(with_a_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("step", case=job.case, precision=job.precision)])
    for parts in ("small,large", "small"):
        assert command.main(["--out", str(tmp_path), "--only", parts]) == 0
        assert len(saved(tmp_path)["measurements"]) == len(JOBS)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    kept = results.Results(tmp_path)
    kept.add("small", [measurement("step")])
    monkeypatch.setattr(results.json, "dumps", lambda *args, **options: "{ torn" + 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kept.add("small", [measurement("resident")])
    monkeypatch.undo()
    assert len(saved(tmp_path)["measurements"]) == 1


def test_a_full_disk_costs_the_file_but_not_the_report(with_a_gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(day, "run_job", lambda job, *_: [measurement("resident", case=job.case)])
    write = Path.write_text

    def full(self, text, *args, **options):
        if self.suffix == ".tmp":
            write(self, text[:10])
            raise OSError(28, "No space left on device")
        return write(self, text, *args, **options)

    monkeypatch.setattr(results.Path, "write_text", full)
    assert command.main(["--out", str(tmp_path), "--only", "small,verdict"]) == 1
    printed = capsys.readouterr()
    assert f"gpu_day: cannot write {tmp_path / 'results.json'}: No space left on device\n" in printed.err
    assert "| resident" in printed.out and not list(tmp_path.iterdir())


BY, FAILED = "by NVRTC 12.9 for 8.6;9.0+PTX", "failed: pip ended with exit status 0, and"


@pytest.mark.parametrize(
    ("before", "after", "kernels", "outcome"),
    [
        (CONFIG, None, BY, f"ok: the installed kernels run on this card: {BY}; "),
        (NO_KERNELS, CONFIG, BY, f"ok: built {BY}, since PIXELRNN_CUDA=0; "),
        (OTHER_GPUS, CONFIG, BY, f"ok: built {BY}, since expected a GPU of 8.6, got 9.0; "),
        (NO_KERNELS, OTHER_GPUS, "by NVRTC 12.9 for 8.6", f"{FAILED} expected a GPU of 8.6, got 9.0; "),
        (NO_KERNELS, NO_KERNELS, "PIXELRNN_CUDA=0", f"{FAILED} PIXELRNN_CUDA=0; "),
    ],
)
def test_kernels_are_built_where_the_installed_ones_do_not_run(
    before, after, kernels, outcome, with_a_gpu, monkeypatch, tmp_path
):
    builds = []

    def run(command, log, seconds, cwd, **environment):
        builds.append(command)
        assert (environment["PIXELRNN_CUDA"], environment["PIP_NO_INDEX"], cwd) == ("1", "1", ROOT)
        return 0

    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, after if builds else before))
    monkeypatch.setattr(stoppable, "run", run)
    command.main(["--out", str(tmp_path), "--only", "build"])
    assert len(builds) == (after is not None)
    data = saved(tmp_path)
    part = data["parts"]["build"]
    assert f"{part['status']}: {part['note']}".startswith(outcome)
    assert data["environment"]["kernels"] == kernels


def junit(tmp_path, tests, failures=0, skipped=0):
    file = tmp_path / "tests.xml"
    skips = "".join('<testcase><skipped message="no GPU"/></testcase>' for _ in range(skipped))
    suite = f'<testsuite tests="{tests}" failures="{failures}" errors="0" skipped="{skipped}">{skips}</testsuite>'
    file.write_text(f"<testsuites>{suite}</testsuites>")
    return file


def test_tests_that_were_skipped_cover_nothing(tmp_path):
    assert judge(read(junit(tmp_path, 5, skipped=1)), "", "4 passed") == ("ok", "4 passed; skipped 1: no GPU")
    assert judge(read(junit(tmp_path, 3, skipped=3)), "", "")[0] == "not run"
    assert judge(read(junit(tmp_path, 0)), "", "")[0] == "not run"
    assert judge(read(junit(tmp_path, 5, failures=1)), "", "")[0] == "failed"
    assert judge(read(junit(tmp_path, 5)), "stopped after 9 s; ", "5 passed")[0] == "failed"
    assert judge(read(tmp_path / "none.xml"), "", "Killed") == ("failed", "no report; the last line is 'Killed'")


def test_a_command_that_takes_too_long_may_report_before_it_is_killed(tmp_path):
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
    assert stoppable.run([sys.executable, "-c", "print(1); exit(7)"], log, 30, tmp_path) == 7
    assert day.closing_line(log) == "1"
    assert stoppable.run([sys.executable, "-c", tidy], log, 1, tmp_path) is None
    assert report.read_text() == "interrupted"
    assert stoppable.run([sys.executable, "-c", stubborn], log, 0.5, tmp_path, grace=0.2) is None
