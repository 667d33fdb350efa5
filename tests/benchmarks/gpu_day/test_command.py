import json
import re
import subprocess
from itertools import chain
from pathlib import Path

import pytest
import torch

from gpu_day import card, child, command, day, results
from gpu_day.day import PARTS, SESSIONS, TESTS, Budget
from gpu_day.jobs import BENCHMARKS, JOBS
from helpers import child as processes
from helpers.root import ROOT
from pixelrnn_ext import build_config

from .made_up_day import measurement

CSRC_HASH = card.source_hash.hash_of(ROOT / "csrc")
FACTS = {"torch": torch.__version__, "CUDA": "13.0", "card": "a card", "multiprocessors": 132, "architecture": "9.0"}
CONFIG = {"cuda": "12.9", "cuda_archs": "8.6;9.0+PTX", "csrc": CSRC_HASH, "why_no_cuda": None, "why_no_gpu": None}
OTHER_GPUS = {**CONFIG, "cuda_archs": "8.6", "why_no_gpu": "expected a GPU of 8.6, got 9.0"}
STALE, OLDER = {**CONFIG, "csrc": "0123"}, {name: CONFIG[name] for name in CONFIG if name != "csrc"}
NO_KERNELS = dict.fromkeys(CONFIG) | dict.fromkeys(("why_no_cuda", "why_no_gpu"), "PIXELRNN_CUDA=0")


class Machine:
    """Stands in for a machine with a GPU. ``done`` records what ran, ``rebuilt`` is the configuration after a build."""

    def __init__(self):
        self.facts, self.config, self.rebuilt = FACTS, CONFIG, CONFIG
        self.done, self.interrupted = [], None
        self.status, self.printed = 0, "1 passed in 2.50s"

    def probe(self, folder):
        return self.facts, self.config

    def run(self, command, log, seconds, cwd, **environment):
        self.done.append((command[1:], environment))
        assert cwd == ROOT
        if "pytest" in command:
            log.write_text(self.printed)
            return self.status
        self.config = self.rebuilt
        return 0

    def measure(self, part, jobs, results, seconds):
        for job in (job for job in jobs if not results.is_finished(part, job)):
            self.done.append(job)
            if job == self.interrupted:
                raise KeyboardInterrupt
            results.data["measurements"] += [
                measurement(provider, case=job.case, precision=job.precision) | {"part": part, "job": str(job)}
                for provider in ("resident", None)
            ]
            results.save()

    @property
    def jobs(self):
        return [entry for entry in self.done if not isinstance(entry[0], list)]

    @property
    def tests(self):
        return [entry for entry in self.done if isinstance(entry[0], list) and "pytest" in entry[0]]


@pytest.fixture
def machine(monkeypatch):
    made_up = Machine()
    monkeypatch.setattr(card, "probe", made_up.probe)
    monkeypatch.setattr(card, "command_output", lambda *command: None)
    monkeypatch.setattr(child, "run", made_up.run)
    monkeypatch.setattr(child, "run_jobs", made_up.measure)
    return made_up


@pytest.fixture
def gpu_day(tmp_path):
    return lambda *arguments: command.main(["--out", str(tmp_path), *arguments])


def saved(folder):
    return json.loads((folder / "results.json").read_text())


def statuses(folder):
    return {name: part["status"] for name, part in saved(folder)["parts"].items()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path):
    folder = tmp_path / "new" / "folder"
    done = processes.python("-m", "benchmarks.gpu_day", "--out", folder, cwd=ROOT)
    expected = f"gpu_day: expected a GPU with CUDA, got none that torch {torch.__version__} can use.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    assert not list(folder.iterdir())


def test_the_command_imports_nothing_that_it_may_build():
    program = "import gpu_day.command, sys; print('pixelrnn_ext' in sys.modules)"
    done = processes.python("-c", program, cwd=ROOT / "benchmarks")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out"),
        (["--out", "{}", "--only", "tests,everything"], "got 'everything'"),
        (["--out", "{}", "--only", ""], "got ''"),
        (["--out", "{}", "--session", "1", "--only", "tests"], "not allowed with argument --session"),
        (["--out", "{}", "--minutes", "0"], "expected more than 0, got 0"),
        (["--out", "{}", "--minutes", "nan"], "expected more than 0, got nan"),
        (["--out", "{}/file/folder"], "cannot create"),
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
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [(int(line.split()[0]), line.split()[1]) for line in lines]
    assert listed == [(n, part) for n, parts in SESSIONS.items() for part in parts]
    assert {part for _, part in listed} == set(PARTS)
    assert all(len(line) < 140 and line.split()[4:] for line in lines)


@pytest.mark.parametrize("content", [None, "{ torn"])
def test_a_report_alone_needs_earlier_results(content, gpu_day, tmp_path, capsys):
    if content:
        (tmp_path / "results.json").write_text(content)
    assert gpu_day("--report") == 2
    error = capsys.readouterr().err
    assert error.startswith("gpu_day: expected ") and error.count("\n") == 1


def test_budget():
    now = 100.0
    budget = Budget(530, SESSIONS[1], lambda: now)
    assert budget.seconds_for("build") == 240
    now += 240
    assert budget.seconds_left() == 290 and budget.seconds_for("sampling") == 290 - 180
    now += 50
    assert budget.seconds_for("check") == 100
    now += 40
    assert budget.seconds_for("layouts") == 200 - 20
    now += 180
    assert budget.seconds_for("exchange") == 20
    now += 300
    assert budget.seconds_for("exchange") == 0
    assert Budget(240, SESSIONS[1], lambda: now).seconds_for("build") == 0
    assert Budget(100, ["tests"], lambda: now).seconds_for("tests") == 100
    for parts in SESSIONS.values():
        assert sum(PARTS[part].reserved_seconds for part in parts) + PARTS["build"].max_seconds <= 530
    assert Budget(530, SESSIONS[3], lambda: now + 150).seconds_for("sanitizer") >= 3 * 120 + child.GRACE + child.START


def test_what_tells_most_comes_first(machine, gpu_day, tmp_path):
    machine.config = NO_KERNELS
    assert gpu_day() == 0
    build, *rest = machine.done
    check, others, sanitizer = machine.tests
    assert build[1]["PIXELRNN_CUDA"] == "1"
    sampling, *later = JOBS.values()
    assert rest == [*sampling, check, *chain(*later), others, sanitizer]
    assert list(saved(tmp_path)["parts"]) == list(PARTS) and set(statuses(tmp_path).values()) == {"ok"}
    for selection, (arguments, environment) in zip(TESTS.values(), machine.tests):
        assert arguments[-len(selection) :] == selection
        assert environment["PIXELRNN_TUNE_TILES"] == "0"
    assert 120 < float(sanitizer[1]["PIXELRNN_SANITIZER_SECONDS"]) < 170


def test_the_tests_are_all_that_need_a_gpu_and_none_twice():
    on_gpus = re.compile(r"^(pytestmark = pytest\.mark\.cuda$|@on_(resident_)?gpus)", re.MULTILINE)
    files = [path for path in ROOT.glob("tests/*/**/test_*.py") if on_gpus.search(path.read_text())]
    marked = {path.relative_to(ROOT).as_posix() for path in files}
    check, others, sanitizer = TESTS.values()
    folder, models, *left_out = others
    assert left_out == [*(f"--deselect={test}" for test in check), f"--ignore={sanitizer[0]}"]
    assert all(path == models or path.startswith(f"{folder}/") for path in marked)
    assert {models, *sanitizer, *(test.partition("::")[0] for test in check)} < marked


def test_a_session_goes_on_where_it_was_interrupted(machine, gpu_day, tmp_path, capsys):
    operators, benchmarks = JOBS["operators"], BENCHMARKS
    machine.interrupted = benchmarks[2]
    assert gpu_day("--session", "2") == 130
    assert machine.jobs == [*operators, *benchmarks[:3]]
    data = saved(tmp_path)
    others = dict.fromkeys(PARTS, "not run")
    assert statuses(tmp_path) == {**others, "build": "ok", "operators": "ok", "small": "interrupted"}
    assert data["environment"]["card"] == "a card" and "benchmarks.gpu_day --out" in data["environment"]["command"]
    assert {verdict["verdict"] for verdict in data["verdicts"]} >= {"PASS"}
    printed = capsys.readouterr().out
    assert "PASS" in printed and "| resident" in printed
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert gpu_day("--report") == 0 and capsys.readouterr().out == printed
    machine.interrupted, machine.done = None, []
    assert gpu_day("--session", "2") == 0
    assert machine.jobs == benchmarks[2:] and len(saved(tmp_path)["measurements"]) == 2 * len(operators + benchmarks)
    assert statuses(tmp_path) == others | dict.fromkeys(SESSIONS[2], "ok")
    assert gpu_day("--session", "2") == 0 and machine.jobs == benchmarks[2:]
    machine.done = []
    assert gpu_day("--only", "small,exchange") == 0
    assert machine.jobs == JOBS["exchange"] + JOBS["small"]
    assert len(saved(tmp_path)["measurements"]) == 2 * (1 + len(operators + benchmarks))


@pytest.mark.parametrize("name", ["card", "torch", "commit", "csrc"])
def test_results_of_another_card_or_source_are_not_mixed(name, tmp_path):
    earlier, facts = results.Results(tmp_path), dict.fromkeys(("card", "torch", "commit", "csrc", "date"), "one")
    earlier.start(facts)
    earlier.data["measurements"] = [measurement("step")]
    earlier.start({**facts, "date": "another"})
    read = results.Results(tmp_path)
    assert len(read.select("small")) == 1
    read.start({**facts, name: "another"})
    assert read.select("small") == results.Results(tmp_path).select("small") == []


def test_a_part_that_raises_is_recorded_and_the_rest_goes_on(machine, gpu_day, monkeypatch, tmp_path):
    def broken(*command, **options):
        raise OSError("no pytest")

    monkeypatch.setattr(child, "run", broken)
    assert gpu_day() == 1
    for name, part in saved(tmp_path)["parts"].items():
        assert part["status"] == ("failed" if name in TESTS else "ok")
        assert part["note"].startswith("OSError: no pytest; ") == (name in TESTS)


@pytest.mark.parametrize("session", [["--session", "1"], ["--session", "3"], ["--only", "check"], []])
def test_a_build_that_fails_ends_the_day(session, machine, gpu_day, tmp_path):
    machine.config = machine.rebuilt = NO_KERNELS
    assert gpu_day(*session) == 1
    assert len(machine.done) == 1
    assert statuses(tmp_path) == {**dict.fromkeys(PARTS, "not run"), "build": "failed"}


def test_a_full_disk_costs_neither_the_old_file_nor_the_report(machine, gpu_day, monkeypatch, tmp_path, capsys):
    assert gpu_day("--only", "exchange") == 0
    before, write = (tmp_path / "results.json").read_text(), Path.write_text

    def full(self, text, *args, **options):
        if self.suffix == ".tmp":
            write(self, text[:10])
            raise OSError(28, "No space left on device")
        return write(self, text, *args, **options)

    monkeypatch.setattr(results.Path, "write_text", full)
    assert gpu_day("--only", "small") == 1
    printed = capsys.readouterr()
    assert f"gpu_day: cannot write {tmp_path / 'results.json'}: No space left on device\n" in printed.err
    assert "| resident" in printed.out
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("results.json", before)]


SKIPPED = "SKIPPED [1] tests/test_cuda.py:3: a second GPU is needed"
SUMMARY = f"\nFAILED tests/test_cuda.py::test_b - AssertionError: h: error ratio 1e-2\n{SKIPPED}\n"


@pytest.mark.parametrize(
    ("status", "printed", "outcome"),
    [
        (0, f"{SKIPPED}\n4 passed, 1 skipped in 2s", f"ok: 4 passed, 1 skipped in 2s; {SKIPPED}; "),
        (0, "3 skipped in 2s", "not run: 3 skipped in 2s; "),
        (5, "no tests ran in 2s", "not run: no tests ran in 2s; "),
        (1, f"{SUMMARY}1 failed, 4 passed in 2s", f"failed: 1 failed, 4 passed in 2s; {SKIPPED}; "),
        (2, "ERROR tests/test_cuda.py\n4 passed, 1 error in 2s", "failed: 4 passed, 1 error in 2s; "),
        (None, "4 passed in 2s", "failed: stopped after 85 s; 4 passed in 2s; "),
        (-9, "", "failed: nothing; "),
    ],
)
def test_what_pytest_says(status, printed, outcome, machine, gpu_day, tmp_path, capsys):
    machine.status, machine.printed = status, printed
    assert gpu_day("--only", "check") == outcome.startswith("failed")
    part = saved(tmp_path)["parts"]["check"]
    assert f"{part['status']}: {part['note']}".startswith(outcome)
    lines = [line for line in printed.splitlines() if line.startswith(("FAILED", "ERROR"))]
    report = capsys.readouterr().out
    assert all(f"- check: {line}\n" in report for line in lines) and ("that failed\n\nNone.\n" in report) == (not lines)


BY, FAILED = "by NVRTC 12.9 for 8.6;9.0+PTX", "failed: exit status 0, and"
OTHER = f"expected kernels of this checkout's csrc ({CSRC_HASH}), got those of another"


@pytest.mark.parametrize("in_place", [False, True])
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
    before, after, kernels, outcome, in_place, machine, gpu_day, monkeypatch, tmp_path
):
    machine.config, machine.rebuilt = before, after
    monkeypatch.setattr(day, "BUILT_IN_PLACE", in_place)
    gpu_day("--only", "build")
    command = ["-m", "pip", "install", "--no-build-isolation", "--no-deps", "."]
    if in_place:
        command = ["setup.py", "build_ext", "--inplace"]
    assert [done for done, _ in machine.done] == [command] * (after is not None)
    assert all((e["PIXELRNN_CUDA"], e["PIP_NO_INDEX"]) == ("1", "1") for _, e in machine.done)
    data = saved(tmp_path)
    part = data["parts"]["build"]
    assert f"{part['status']}: {part['note']}".startswith(outcome)
    assert data["environment"]["kernels"] == kernels


def test_the_hash_of_the_sources_knows_their_names_and_contents(tmp_path):
    assert "csrc" in build_config()
    for folder, (name, content) in enumerate((("a.h", "1"), ("a.h", "2"), ("b.h", "2"), ("cuda/b.h", "2"))):
        path = tmp_path / str(folder) / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert len({card.source_hash.hash_of(folder) for folder in tmp_path.iterdir()}) == 4


def test_a_checkout_without_git_has_its_sources_alone(monkeypatch, tmp_path):
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
