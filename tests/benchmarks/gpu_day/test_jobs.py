import multiprocessing
import os
import sys
import time

import pytest

from gpu_day import child
from gpu_day.floors import FLOORS
from gpu_day.jobs import BENCHMARKS, JOBS
from gpu_day.providers import CASES, PRECISIONS
from gpu_day.results import Results
from helpers.workers import ScriptedJob


def test_every_job_has_a_case_and_every_floor_its_jobs():
    assert len(set(BENCHMARKS)) == len(BENCHMARKS)
    assert all(str(case) == name for name, case in CASES.items())
    assert {job.precision for job in BENCHMARKS} == set(PRECISIONS)
    assert {(case, p) for case in FLOORS for p in ("fp32", "bf16")} <= {(job.case, job.precision) for job in BENCHMARKS}
    assert [job.precision for job in BENCHMARKS[:8]] == ["fp32"] * 4 + ["bf16"] * 4
    for jobs in JOBS.values():
        assert len({str(job) for job in jobs}) == len(jobs)


def test_the_scans_of_the_day():
    layouts, operators = JOBS["layouts"], JOBS["operators"]
    assert {(job.size[0], job.size[1:], job.precision, job.backward) for job in layouts} == {
        (batch, sizes, precision, backward)
        for batch in (16, 256)
        for sizes in ((28, 28, 16), (28, 28, 64), (32, 32, 128))
        for precision in ("bf16", "tf32")
        for backward in (False, True)
    }
    assert str(layouts[0]) == "diagonal B256 28x28 h16, both directions, forward bf16" and layouts[0].lines == 55
    assert [job.size[0] for job in layouts] == 2 * (6 * [256] + 6 * [16])
    assert {job.size[0] for job in operators} == {16, 256} and {job.directions for job in operators} == {2}


def measured(folder, *words, seconds=30.0, start=10.0, needed=0.5):
    """Runs one scripted job for each string in ``words``. Returns {job: {provider: (status, note)}}.

    A provider is an implementation that a job measures. Each word of a string is the name of a provider. A name such as
    "hang" also says how the provider fails.
    """
    results = Results(folder)
    child.run_jobs("small", [ScriptedJob(job, seconds=needed) for job in words], results, seconds, start)
    found = {}
    for m in Results(folder).select("small"):
        assert (m["case"], m["precision"]) == ("a case", "fp32")
        assert m["provider"] not in found.setdefault(m["job"], {}), "the last report on a provider takes its place"
        found[m["job"]][m["provider"]] = m["status"], m["note"]
    return found


OK = ("ok", "")


def failed(end):
    return "failed", f"its process ended with {end}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a exit b", {"exit": failed("exit status 3"), "b": OK, None: OK}),
        ("a crash b", {"crash": failed("SIGSEGV"), "b": OK, None: OK}),
        ("a raise b", {"raise": failed("exit status 4"), "b": OK, None: OK}),
        # The process ends when no implementation is being measured, so the job as a whole fails.
        ("a nobody", {"nobody": OK, None: failed("exit status 5")}),
        # The provider "later" reports its final result after all other providers. The provider "exit" ends the process
        # before that, so the next process measures "later" again.
        ("later a exit", {"later": OK, "exit": failed("exit status 3"), None: OK}),
    ],
)
def test_a_provider_that_ends_its_process_costs_the_others_nothing(words, expected, tmp_path):
    assert measured(tmp_path, words, "c") == {words: {"a": OK, **expected}, "c": {"c": OK, None: OK}}


def test_a_job_that_raises_or_hangs_has_failed(tmp_path):
    found = measured(tmp_path, "hang b", "a error b", start=0.0)
    assert found["hang b"] == {"hang": failed("SIGALRM"), "b": OK, None: OK}
    assert found["a error b"]["error"] == failed("exit status 1")


def test_a_part_that_is_stopped_goes_on_with_what_is_not_known(tmp_path):
    stopped, job = ("not run", "stopped"), ScriptedJob("a later hang")
    found = measured(tmp_path, str(job), "c", seconds=3.0, start=60.0)
    assert found.keys() <= {str(job)} and {*found.get(str(job), {}).values()} <= {OK, stopped}
    receiver, sender = multiprocessing.Pipe(duplex=False)
    for provider, status in ((None, "running"), ("hang", "running"), ("a", "ok"), ("later", "checked")):
        child._report(sender, job, provider, status)
    os.write(sender.fileno(), b"\0\0\1\0torn")  # announces 256 bytes, but ends after four
    sender.close()
    killed = Results(tmp_path)
    child._receive(receiver, "small", killed)
    saved = killed.path.read_text()
    results = Results(tmp_path)
    assert results.finished_providers("small", job) == {"a"} and not results.is_finished("small", job)
    assert killed.path.read_text() == saved
    results.start(dict.fromkeys(("card", "torch", "commit", "csrc")))
    assert {(m["status"], m["note"]) for m in results.select("small") if m["provider"] != "a"} == {stopped}
    found = measured(tmp_path, str(job), "c", needed=40)
    assert found["c"][None][0] == "not run" and found["c"][None][1].endswith(" s left, it is given 40 s")
    Results(tmp_path).add("small", job, "hang", "ok")
    found = measured(tmp_path, str(job), "c")
    assert found == {str(job): {"a": OK, "later": OK, "hang": OK, None: OK}, "c": {"c": OK, None: OK}}


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
    log, start = tmp_path / "log", time.monotonic()
    assert child.run([sys.executable, "-c", "print(1); exit(7)"], log, 30, tmp_path) == 7
    assert log.read_text() == "1\n"
    assert child.run([sys.executable, "-c", tidy], log, 1, tmp_path) is None
    assert report.read_text() == "interrupted"
    assert child.run([sys.executable, "-c", stubborn], log, 0.5, tmp_path, grace=0.2) is None
    assert time.monotonic() - start < 30
