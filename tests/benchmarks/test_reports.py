import argparse
import os
from functools import partial
from pathlib import Path

import pytest
import torch

import bench_diag
import bench_masked_conv
from harness import report
from harness.command import BUDGETS, jobs
from harness.in_jax import JAX
from harness.options import CHECK, DEFAULT, FULL, VERDICT
from harness.requirements import PeakTarget, Target, ThreadsTarget
from pixelrnn_ext.benchmark import timing
from pixelrnn_ext.benchmark.jobs import Job, Result
from pixelrnn_ext.benchmark.problems import AS_WRITTEN, BASELINE, NATIVE
from pixelrnn_ext.benchmark.run import Benchmark
from pixelrnn_ext.benchmark.timing import Times

QUIET, RESTLESS = [1.0, 1.01, 0.99, 1.0, 1.02], [1.0, 1.4, 0.9, 1.0, 1.6]
HEADER = {"device": "CPU", "command": "python benchmarks/bench_diag.py", "CPU": "a CPU", "threads": "2", "torch": "2"}
HEADER |= {"date": "today"}
FIRST, SECOND = bench_diag.CASES[:2]


def made_up(case, milliseconds=None, *, pattern=QUIET, busy=0.0, threads=2):
    milliseconds = milliseconds or {BASELINE: 50.0, AS_WRITTEN: 100.0, JAX: 15.0, NATIVE: 5.0}
    times = Times()
    for name, typical in milliseconds.items():
        times[name] = [1e-3 * typical * factor for factor in (pattern if name == case.ours else QUIET)]
    times.busy = busy
    errors, dtypes = dict.fromkeys(times, 1e-6), dict.fromkeys(times, torch.float32)
    job = Job(case, threads)
    return Result(job, "forward+backward", times, 10**9, dtypes, errors, peak_mib={NATIVE: 12.25})


def print_report(results, capsys, scope=DEFAULT, targets=(), markdown=None):
    benchmark = Benchmark(BUDGETS[scope])
    benchmark.results = results
    benchmark.peaks = {(torch.float32, 2): 4e11}
    benchmark.skip("out of time", "one case", "another")
    options = argparse.Namespace(scope=scope, markdown=markdown, csv=None, plot=None)
    report.report(benchmark, list(targets), dict(HEADER), options)
    return capsys.readouterr().out


def test_a_visitor_sees_one_short_table(capsys):
    facts, table, notes = print_report([made_up(FIRST), made_up(SECOND)], capsys).split("\n\n")
    first, second, machine = facts.splitlines()
    assert (first, second) == ("device: CPU", "command: python benchmarks/bench_diag.py")
    assert machine == "CPU: a CPU; threads: 2; torch: 2; date: today"
    header, _, *lines = table.splitlines()
    assert [" ".join(name.split()) for name in header.split("  ") if name] == [
        "case", "ours, ms", "faster than good loop", "faster than loop as written", "faster than JAX",
        "G multiply-adds/s", "share of peak", "peak MiB", "error",
    ]  # fmt: skip
    assert [" ".join(line.split()) for line in lines] == [
        f"{case} 5.0 10.0 x 20.0 x 3.0 x 200 50% 12.2 1e-06" for case in (FIRST, SECOND)
    ]
    how_to_read, skipped = notes.splitlines()
    assert "2.0 x faster is half the time" in how_to_read and "peak is" in how_to_read
    assert skipped == "skipped, out of time: one case; another"


def test_the_short_table_has_no_column_that_says_nothing(capsys):
    case = bench_masked_conv.CASES[0]
    printed = print_report([made_up(case, {case.baseline: 10.0, case.ours: 5.0})], capsys)
    assert "faster than conv2d, masked weight" in printed and "2.0 x" in printed
    assert all(name not in printed for name in ("JAX", "peak MiB", "cropped", "unreliable"))


@pytest.mark.parametrize("markdown", [None, Path("-")], ids=["text", "markdown"])
@pytest.mark.parametrize("scope", [DEFAULT, FULL])
def test_a_row_that_was_timed_under_load_is_marked(scope, markdown, capsys):
    quiet = made_up(FIRST)
    assert "nreliable" not in print_report([quiet], capsys, scope, markdown=markdown).lower()
    assert "nreliable" not in print_report([made_up(FIRST, busy=0.5)], capsys, CHECK).lower()

    for result, why, marked in (
        (made_up(SECOND, pattern=RESTLESS), "times spread by 4", 1),
        (made_up(SECOND, busy=0.5), "others had 50% of the cores", 1 if scope == DEFAULT else len(quiet.providers)),
    ):
        printed = print_report([quiet, result], capsys, scope, markdown=markdown)
        assert f"UNRELIABLE: the machine was not quiet in {marked} of " in printed
        assert printed.index("UNRELIABLE") < printed.index("ours, ms" if scope == DEFAULT else "median ms")
        assert all((why in line) <= (str(SECOND) in line) for line in printed.splitlines())
        assert sum(why in line for line in printed.splitlines()) == marked


def test_what_is_a_doubt():
    times = Times({"quiet": QUIET, "slow": [None, 2.0, None, 2.0], "restless": RESTLESS})
    assert times.doubt("quiet", "slow") == ""
    times.busy = timing.MAX_BUSY
    assert times.doubt("quiet") == ""
    times.busy = 0.75
    assert times.doubt("quiet", "restless").endswith("%, others had 75% of the cores") and times.doubt("other") == ""
    assert timing.percentiles([1.0, None, 2.0, 3.0, 4.0, 5.0, 6.0]) == pytest.approx((2.0, 3.5, 5.0))
    assert timing.warning(["", ""]) == ""


STAT = "cpu  9 9 9 9 9 9 9 9\ncpu0 100 10 50 {idle} {idle} 1 2 {steal} 0 0\ncpu1 {user} 0 0 900 0 0 0 0 0 0\nintr 5\n"


@pytest.mark.parametrize("warm", [False, True], ids=["in turn", "warm"])
def test_a_warm_time_follows_a_call_of_the_same_function(warm):
    calls = []

    def clock(function):
        calls.append("timed")
        function()
        return 1.0

    functions = {name: partial(calls.append, name) for name in "fg"}
    times = timing.paired(functions, seconds=0, fewest=3, clock=clock, warm=warm)
    rounds = (["f"] * warm + ["timed", "f"] + ["g"] * warm + ["timed", "g"]) * 3
    assert calls == ["f", "timed", "f", "g", "timed", "g", *rounds]
    assert times == dict.fromkeys("fg", [1.0] * 3)


def test_what_other_processes_did(monkeypatch, tmp_path):
    tick, stat, now = os.sysconf("SC_CLK_TCK"), tmp_path / "stat", [0.0]
    monkeypatch.setattr(timing, "_STAT", stat)
    monkeypatch.setattr(timing, "_cores", lambda: [0, 1])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.os, "times", lambda: (now[0] / 2, now[0] / 4, 0, 0, 99))

    stat.write_text(STAT.format(idle=500, steal=0, user=0))
    others = timing.OtherProcesses()
    now[0] = 10.0
    # In these made-up statistics of 10 seconds, the two cores were busy for 13 seconds together. This process used 7.5
    # of the 13 seconds.
    stat.write_text(STAT.format(idle=900, steal=3 * tick, user=10 * tick))
    assert others.busy() == pytest.approx((13 - 7.5) / 20)

    monkeypatch.setattr(timing, "_cores", lambda: [0, 7])
    assert timing.OtherProcesses().busy() is None
    stat.unlink()
    assert timing.OtherProcesses().busy() is None


def test_targets_stand_in_a_verdict_alone(capsys):
    met, missed = Target(FIRST, NATIVE, BASELINE, faster=9), PeakTarget(FIRST, 0.55)
    nowhere = Target(SECOND, NATIVE, BASELINE, faster=9)
    for scope in (DEFAULT, FULL):
        printed = print_report([made_up(FIRST)], capsys, scope, [met, missed])
        assert "required" not in printed and "missed" not in printed

    printed = print_report([made_up(FIRST)], capsys, VERDICT, [met, missed, nowhere])
    lines = [" ".join(line.split()) for line in printed.splitlines() if " >= " in line or " <= " in line]
    assert f"{FIRST}, 2 threads native faster than good loop >= 9 10 met" in lines
    assert f"{SECOND}, 2 threads native faster than good loop >= 9 not timed -" in lines
    assert f"{FIRST}, 2 threads native share of peak >= 0.55 0.5 missed" in lines and len(lines) == 3

    printed = print_report([made_up(FIRST, pattern=RESTLESS)], capsys, VERDICT, [met])
    assert "UNRELIABLE: the machine was not quiet in 1 of 1 rows" in printed and "met, unreliable" in printed


def test_a_target_of_two_numbers_of_threads():
    benchmark = Benchmark(BUDGETS[VERDICT])
    at_most, faster = ThreadsTarget(FIRST, 8, 2, at_most=1.5), ThreadsTarget(FIRST, 2, 1, faster=1.6)
    benchmark.results = [made_up(FIRST, {NATIVE: ms}, threads=n) for n, ms in ((1, 7.5), (2, 5.0))]
    assert str(faster.verdict(benchmark)) == "missed" and str(at_most.verdict(benchmark)) == "-"
    benchmark.results.append(made_up(FIRST, {NATIVE: 7.5}, threads=8, busy=0.5))
    assert at_most.verdict(benchmark).measured == pytest.approx(1.5)
    assert at_most.verdict(benchmark).doubt == "others had 50% of the cores"


def test_a_run_times_what_it_shows():
    options = argparse.Namespace(scope=DEFAULT, threads=None)
    (job,) = jobs([FIRST], bench_diag.TARGETS, options)
    assert job == Job(FIRST, 2, {NATIVE, BASELINE, AS_WRITTEN, JAX})
    options.scope = VERDICT
    timed = {(job.case, job.threads): job.providers for job in jobs(bench_diag.CASES, bench_diag.TARGETS, options)}
    assert timed[FIRST, 2] == {NATIVE, BASELINE} and timed[FIRST, 8] == {NATIVE}
    assert {case for case, _ in timed} == set(bench_diag.CASES)


def test_the_picture(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(report, "horizontal_bars", lambda path, speeds, *texts: drawn.append((speeds, *texts)))
    for busy in (0.0, 0.5):
        report.plot(tmp_path / "speed.png", [made_up(FIRST, busy=busy), made_up(SECOND)], HEADER)
        speeds, title, machine = drawn.pop()
        assert speeds == {str(FIRST): pytest.approx(10.0), str(SECOND): pytest.approx(10.0)}
        assert title.startswith("Times faster than the good loop") and ("UNRELIABLE" in machine) == (busy > 0)
    report.plot(tmp_path / "speed.png", [made_up(FIRST, {BASELINE: 50.0})], HEADER)
    assert not drawn


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_read_on_white_as_on_black(ending, tmp_path):
    pytest.importorskip("matplotlib", reason="the bench and the train extra bring matplotlib")
    path = tmp_path / f"speed.{ending}"
    report.horizontal_bars(path, {"one case": 10.0, "another": 0.9}, "a title", "a machine")
    if ending == "svg":
        text = path.read_text()
        assert "#3d84d6" in text and ">one case</text>" in text
        return
    from PIL import Image

    picture = Image.open(path)
    colours = {colour: count for count, colour in picture.getcolors(1 << 16)}
    assert picture.mode == "RGBA" and picture.getpixel((0, 0))[3] == 0
    opaque = [colour[:3] for colour in sorted(colours, key=colours.get) if colour[3] == 255]
    assert len(opaque) >= 2
    for light in opaque[-2:]:
        assert 60 < sum(light) / 3 < 190
