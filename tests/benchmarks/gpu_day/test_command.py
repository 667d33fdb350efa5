"""The command of the GPU day and its parts, as far as they go without a GPU (benchmarks/gpu_day/command.py, day.py)."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gpu_day import card, command, day, results, stoppable
from gpu_day.jobs import EXCHANGE_JOB, JOBS, LARGE_JOBS, LAYOUT_JOBS, OPERATOR_JOBS, SMALL_JOBS
from gpu_day.parts import PARTS, SESSIONS, Budget
from gpu_day.pytest_runs import judge, read
from helpers import child
from helpers.root import ROOT
from pixelrnn_ext import build_config

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
        (["--out", "{}", "--session", "4"], "invalid choice: 4"),
        (["--out", "{}", "--session", "1", "--only", "tests"], "not allowed with argument --session"),
        (["--out", "{}", "--minutes", "0"], "expected more than 0, got 0"),
        (["--out", "{}", "--minutes", "nan"], "expected more than 0, got nan"),
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
    listed = [(int(line.split()[0]), line.split()[1]) for line in lines]
    assert stopped.value.code == 0 and listed == [(n, part) for n, parts in SESSIONS.items() for part in parts]
    assert {part for _, part in listed} == set(PARTS)
    assert all(len(line) < 140 and line.split()[4:] for line in lines)


@pytest.mark.parametrize("content", [None, "{ torn"])
def test_a_report_alone_needs_earlier_results(content, tmp_path, capsys):
    if content:
        (tmp_path / "results.json").write_text(content)
    assert command.main(["--out", str(tmp_path), "--report"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gpu_day: expected ") and error.count("\n") == 1


def test_budget():
    now = 100.0
    budget = Budget(530, SESSIONS[1], lambda: now)
    assert budget.of("build") == 240
    now += 240  # a build takes nothing from the check
    assert budget.left() == 290 and budget.of("check") == 100
    now += 40  # a quick check leaves more to the others
    assert budget.of("layouts") == 250 - 20
    now += 230
    assert budget.of("exchange") == 20
    now += 300
    assert budget.of("exchange") == 0
    assert Budget(240, SESSIONS[1], lambda: now).of("build") == 240 - 180  # the check's 100 are kept for it
    assert Budget(100, ["tests"], lambda: now).of("tests") == 100
    for parts in SESSIONS.values():
        assert sum(PARTS[part].least for part in parts) + PARTS["build"].most <= 530
    # Where there is nothing to build, each tool of the sanitizer has two minutes.
    assert Budget(530, SESSIONS[3], lambda: now + 150).of("sanitizer") >= 3 * 120 + stoppable.GRACE + day.START


FACTS = {"torch": torch.__version__, "CUDA": "13.0", "card": "a card", "multiprocessors": 132, "architecture": "9.0"}


MINE = card.source_hash.hash_of(ROOT / "csrc")
CONFIG = {"cuda": "12.9", "cuda_archs": "8.6;9.0+PTX", "csrc": MINE, "why_no_cuda": None, "why_no_gpu": None}
OTHER_GPUS = {**CONFIG, "cuda_archs": "8.6", "why_no_gpu": "expected a GPU of 8.6, got 9.0"}
STALE, OLDER = {**CONFIG, "csrc": "0123"}, {name: CONFIG[name] for name in CONFIG if name != "csrc"}
NO_KERNELS = dict.fromkeys(CONFIG) | dict.fromkeys(("why_no_cuda", "why_no_gpu"), "PIXELRNN_CUDA=0")


@pytest.fixture
def with_a_gpu(monkeypatch):
    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, CONFIG))
    monkeypatch.setattr(card, "output", lambda *command: None)


def saved(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture
def jobs_run(monkeypatch):
    """The jobs that are run, each with one good result; the one in ``interrupted`` raises KeyboardInterrupt."""
    done = SimpleNamespace(jobs=[], interrupted=None)

    def run_job(job, worker, seconds, keep, known):
        done.jobs.append(job)
        if job == done.interrupted:
            raise KeyboardInterrupt
        return [measurement("resident", case=job.case, precision=job.precision)]

    monkeypatch.setattr(day, "run_job", run_job)
    return done


def statuses(folder):
    return {name: part["status"] for name, part in saved(folder)["parts"].items()}


def test_a_session_goes_on_where_it_was_interrupted(with_a_gpu, jobs_run, monkeypatch, tmp_path, capsys):
    session = ["--out", str(tmp_path), "--session", "2"]
    jobs_run.interrupted = JOBS[2]
    assert command.main(session) == 130
    assert jobs_run.jobs == [*OPERATOR_JOBS, *JOBS[:3]]
    data = saved(tmp_path)
    assert [(m["case"], m["precision"]) for m in data["measurements"]] == [job[:2] for job in JOBS[:2]]
    others = dict.fromkeys(PARTS, "not run")
    assert statuses(tmp_path) == {**others, "build": "ok", "operators": "ok", "small": "interrupted"}
    assert data["environment"]["card"] == "a card" and "benchmarks.gpu_day --out" in data["environment"]["command"]
    printed = capsys.readouterr().out
    assert "PASS" in printed and "| resident" in printed
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    # The rest of the session alone is run, and nothing of it twice.
    jobs_run.interrupted, jobs_run.jobs = None, []
    assert command.main(session) == 0
    assert jobs_run.jobs == [*JOBS[2:]] and len(saved(tmp_path)["measurements"]) == len(JOBS)
    done = dict.fromkeys(SESSIONS[2], "ok")
    assert statuses(tmp_path) == others | done
    assert command.main(session) == 0 and jobs_run.jobs == [*JOBS[2:]]
    # Other parts can be added, to results of the same card and sources only.
    assert command.main(["--out", str(tmp_path), "--report"]) == 0
    assert command.main(["--out", str(tmp_path), "--only", "exchange"]) == 0
    assert len(saved(tmp_path)["measurements"]) == len(JOBS)
    monkeypatch.setattr(card, "probe", lambda folder: ({**FACTS, "card": "another"}, CONFIG))
    assert command.main(["--out", str(tmp_path), "--only", "build"]) == 0
    assert saved(tmp_path)["measurements"] == []


def test_a_job_that_was_not_finished_is_run_again_with_what_is_known(with_a_gpu, monkeypatch, tmp_path):
    first = [{"providers": ["a", "b"]}, {"running": "a"}, ok("a"), {"running": "b"}, KeyboardInterrupt()]
    monkeypatch.setattr(day, "Worker", lambda work: Scripted(first))
    monkeypatch.setattr(day, "LAYOUT_JOBS", LAYOUT_JOBS[:1])
    checks = []
    monkeypatch.setattr(day.Day, "check", lambda self, seconds: checks.append(seconds) or ("ok", ""))
    folder = ["--out", str(tmp_path)]
    assert command.main([*folder, "--session", "1"]) == 130
    assert statuses(tmp_path)["layouts"] == "interrupted"
    kept = [(m["provider"], m["status"], m["part"]) for m in saved(tmp_path)["layouts"]]
    assert kept == [("a", "ok", "layouts"), (None, "not run", "layouts")]
    worker = Scripted([{"providers": ["a", "b"]}, {"running": "b"}, ok("b")], [ok("launch")])
    monkeypatch.setattr(day, "Worker", lambda work: worker)
    assert command.main([*folder, "--session", "1"]) == 0 and len(checks) == 1
    assert [(m["provider"], m["status"]) for m in saved(tmp_path)["layouts"]] == [("a", "ok"), ("b", "ok")]
    assert worker.requests[0][0] == (LAYOUT_JOBS[0], {"a"}) and worker.requests[1][0] == (EXCHANGE_JOB, set())
    # Without the time for its job a part is not finished.
    monkeypatch.setattr(day, "Worker", lambda work: Scripted())
    assert command.main([*folder, "--only", "layouts", "--minutes", "0.2"]) == 0
    assert statuses(tmp_path)["layouts"] == "unfinished"


def test_a_part_that_raises_is_recorded_and_the_rest_goes_on(with_a_gpu, jobs_run, monkeypatch, tmp_path):
    def broken(*command, **options):
        raise OSError("no pip")

    monkeypatch.setattr(stoppable, "run", broken)
    assert command.main(["--out", str(tmp_path)]) == 1
    parts = saved(tmp_path)["parts"]
    for name in ("check", "tests", "sanitizer"):
        assert parts[name]["status"] == "failed" and parts[name]["note"].startswith("OSError: no pip")
    others = parts.keys() - {"check", "tests", "sanitizer"}
    assert {parts[name]["status"] for name in others} == {"ok"}


@pytest.mark.parametrize("session", [["--session", "1"], ["--session", "3"], ["--only", "check"], []])
def test_a_build_that_fails_ends_the_day(session, monkeypatch, jobs_run, tmp_path, with_a_gpu):
    commands = []
    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, NO_KERNELS))
    monkeypatch.setattr(stoppable, "run", lambda command, *_, **options: commands.append(command) or 1)
    assert command.main(["--out", str(tmp_path), *session]) == 1
    assert len(commands) == 1 and not jobs_run.jobs  # neither a test nor a benchmark
    assert statuses(tmp_path) == {**dict.fromkeys(PARTS, "not run"), "build": "failed"}


PYTEST = """<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1" time="2.5">
<testcase classname="test_cuda" name="test_a" time="1.5"/><testcase classname="test_cuda" name="test_b" time="0.5">
<failure message="AssertionError: h: error ratio 1e-2&#10;more">the traceback</failure></testcase>
<testcase classname="test_cuda" name="test_c" time="0.1"><skipped message="a second GPU is needed"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def all_parts(with_a_gpu, jobs_run, monkeypatch):
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

    monkeypatch.setattr(jobs_run, "jobs", done)
    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, NO_KERNELS))
    monkeypatch.setattr(stoppable, "run", run)
    return done


def test_what_tells_most_comes_first(all_parts, tmp_path, capsys):
    assert command.main(["--out", str(tmp_path)]) == 1
    tests = [entry for entry in all_parts if isinstance(entry, tuple) and isinstance(entry[0], list)]
    check, others, sanitizer = tests
    benchmarks = [*LAYOUT_JOBS, EXCHANGE_JOB, *OPERATOR_JOBS, *SMALL_JOBS, *LARGE_JOBS]
    assert all_parts == ["build", check, *benchmarks, others, sanitizer]
    assert list(saved(tmp_path)["parts"]) == list(PARTS)
    # The three are all tests, and none twice.
    assert check[0][0] == "tests/scan/cuda/card/test_kernels.py" and sanitizer[0] == [
        "tests/scan/cuda/card/test_sanitizer.py"
    ]
    assert others[0] == [f"--ignore={file}" for file in (check[0][0], *sanitizer[0])]
    for selection, environment in tests:
        assert environment["PIXELRNN_TUNE_TILES"] == "0"
        files = [word.removeprefix("--ignore=").partition("::")[0] for word in selection]
        assert all((ROOT / file).exists() for file in files)
    assert 120 < float(sanitizer[1]["PIXELRNN_SANITIZER_SECONDS"]) < 170


def test_everything_but_logs_is_in_one_file(all_parts, tmp_path, capsys):
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
    assert files == {"results.json", *logs}
    # The report is printed, and again from that file alone.
    report = capsys.readouterr().out
    assert "- check: test_cuda::test_b: AssertionError: h: error ratio 1e-2\n" in report
    assert command.main(["--out", str(tmp_path), "--report"]) == 0
    assert capsys.readouterr().out.partition("## Tests")[2] == report.partition("## Tests")[2]


def test_a_part_that_runs_again_replaces_its_measurements_alone(with_a_gpu, jobs_run, tmp_path):
    for parts in ("small,large", "small"):
        assert command.main(["--out", str(tmp_path), "--only", parts]) == 0
        assert len(saved(tmp_path)["measurements"]) == len(JOBS)
    assert jobs_run.jobs == [*JOBS, *SMALL_JOBS]


@pytest.mark.parametrize("name", ["card", "torch", "commit", "csrc"])
def test_results_of_another_card_or_source_are_not_mixed(name, tmp_path):
    kept, facts = results.Results(tmp_path), dict.fromkeys(("card", "torch", "commit", "csrc", "date"), "one")
    kept.start(facts)
    kept.put("small", JOBS[0], [measurement("step")])
    kept = results.Results(tmp_path)  # of the next process
    kept.start({**facts, "date": "another"})
    assert len(kept.data["measurements"]) == 1
    kept.start({**facts, name: "another"})
    assert kept.data["measurements"] == []


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    kept = results.Results(tmp_path)
    kept.put("small", JOBS[0], [measurement("step")])
    monkeypatch.setattr(results.json, "dumps", lambda *args, **options: "{ torn" + 1 / 0)
    with pytest.raises(ZeroDivisionError):
        kept.put("small", JOBS[0], [measurement("resident")])
    monkeypatch.undo()
    assert len(saved(tmp_path)["measurements"]) == 1


def test_a_full_disk_costs_the_file_but_not_the_report(with_a_gpu, jobs_run, monkeypatch, tmp_path, capsys):
    write = Path.write_text

    def full(self, text, *args, **options):
        if self.suffix == ".tmp":
            write(self, text[:10])
            raise OSError(28, "No space left on device")
        return write(self, text, *args, **options)

    monkeypatch.setattr(results.Path, "write_text", full)
    assert command.main(["--out", str(tmp_path), "--only", "small"]) == 1
    printed = capsys.readouterr()
    assert f"gpu_day: cannot write {tmp_path / 'results.json'}: No space left on device\n" in printed.err
    assert "| resident" in printed.out and not list(tmp_path.iterdir())


BY, FAILED = "by NVRTC 12.9 for 8.6;9.0+PTX", "failed: exit status 0, and"
OTHER = f"expected kernels of this checkout's csrc ({MINE}), got those of another"


@pytest.mark.parametrize(
    ("before", "after", "kernels", "outcome"),
    [
        (CONFIG, None, BY, f"ok: the installed kernels run on this card: {BY}; "),
        (NO_KERNELS, CONFIG, BY, f"ok: built {BY}, since PIXELRNN_CUDA=0; "),
        (STALE, CONFIG, BY, f"ok: built {BY}, since {OTHER} (0123); "),
        (OLDER, CONFIG, BY, f"ok: built {BY}, since {OTHER} (unknown); "),
        (STALE, STALE, BY, f"{FAILED} {OTHER} (0123); "),
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
        builds.append(command[1:])
        assert (environment["PIXELRNN_CUDA"], environment["PIP_NO_INDEX"], cwd) == ("1", "1", ROOT)
        return 0

    monkeypatch.setattr(card, "probe", lambda folder: (FACTS, after if builds else before))
    monkeypatch.setattr(stoppable, "run", run)
    monkeypatch.setattr(day, "BUILT_IN_PLACE", False)
    command.main(["--out", str(tmp_path), "--only", "build"])
    assert builds == [["-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]] * (after is not None)
    if after is not None:
        builds.clear()
        monkeypatch.setattr(day, "BUILT_IN_PLACE", True)
        command.main(["--out", str(tmp_path), "--only", "build"])
        assert builds == [["setup.py", "build_ext", "--inplace"]]
    data = saved(tmp_path)
    part = data["parts"]["build"]
    assert f"{part['status']}: {part['note']}".startswith(outcome)
    assert data["environment"]["kernels"] == kernels


def test_the_build_records_the_hash_of_its_sources(monkeypatch, tmp_path):
    monkeypatch.setenv("PIXELRNN_NATIVE", "0")
    monkeypatch.setenv("PIXELRNN_CUDA", "0")
    names = {"__file__": str(ROOT / "setup.py"), "__name__": "setup"}
    exec((ROOT / "setup.py").read_text().removesuffix("\nmain()\n"), names)
    assert names["plan"]()[2]["csrc"] == MINE
    assert "csrc" in build_config()
    (tmp_path / "cuda").mkdir()
    hashes = set()
    for content in ("1", "2"):
        (tmp_path / "a.h").write_text(content)
        hashes.add(card.source_hash.hash_of(tmp_path))
    for name in ("b.h", "cuda/b.h"):
        (tmp_path / "a.h").rename(tmp_path / name)
        hashes.add(card.source_hash.hash_of(tmp_path))
        (tmp_path / name).rename(tmp_path / "a.h")
    assert len(hashes) == 4


def test_a_checkout_without_git_has_its_sources_alone(monkeypatch, tmp_path):
    """Nor does a repository answer in which the checkout lies."""
    nested = tmp_path / "nested"
    (nested / "csrc").mkdir(parents=True)
    (nested / "csrc/a.h").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "tracked").touch()
    for arguments in (["init", "-q"], ["add", "tracked"], ["commit", "-q", "-m", "outer"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(card, "ROOT", nested)
    found = card.environment(FACTS, CONFIG, [])
    assert found["commit"] is None and len(found["csrc"]) == 16
    monkeypatch.setattr(card, "ROOT", tmp_path)
    commit = card.environment(FACTS, CONFIG, [])["commit"]
    assert len(commit) == 40, "a new file, such as a session's results, is no change"
    (tmp_path / "tracked").write_text("changed")
    assert card.environment(FACTS, CONFIG, [])["commit"] == f"{commit}, with changes"


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
