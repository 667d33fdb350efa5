"""The jobs of a GPU day, and the process that runs them (benchmarks/gpu_day/jobs.py, run_job.py, worker.py)."""

import pytest

from gpu_day.floors import FLOORS
from gpu_day.jobs import JOBS, LAYOUT_JOBS, OPERATOR_JOBS, Job
from gpu_day.providers import CASES, PRECISIONS
from gpu_day.run_job import START, run_job
from gpu_day.worker import Gone, TimedOut, Worker
from helpers.workers import work

from .made_up_day import MNIST, Scripted, ok


def test_every_job_has_a_case_and_every_floor_its_jobs():
    assert len(set(JOBS)) == len(JOBS)
    assert {job.case for job in JOBS} == set(CASES) and {job.precision for job in JOBS} == set(PRECISIONS)
    assert {(case, p) for case in FLOORS for p in ("fp32", "bf16")} <= {(job.case, job.precision) for job in JOBS}
    assert [job.precision for job in JOBS[:8]] == ["fp32"] * 4 + ["bf16"] * 4


def test_the_scans_of_the_day():
    assert len({job.case + job.precision for job in LAYOUT_JOBS}) == len(LAYOUT_JOBS)
    assert {(job.size[0], job.size[1:], job.precision, job.backward) for job in LAYOUT_JOBS} == {
        (batch, sizes, precision, backward)
        for batch in (16, 256)
        for sizes in ((28, 28, 16), (28, 28, 64), (32, 32, 128))
        for precision in ("bf16", "tf32")
        for backward in (False, True)
    }
    assert LAYOUT_JOBS[0].case == "diagonal B256 28x28 h16, both directions, forward" and LAYOUT_JOBS[0].lines == 55
    assert [job.size[0] for job in LAYOUT_JOBS] == 2 * (6 * [256] + 6 * [16])  # bf16, then tf32
    assert {job.size[0] for job in OPERATOR_JOBS} == {16, 256} and {job.directions for job in OPERATOR_JOBS} == {2}


def keep(results):
    raise AssertionError(f"expected no Ctrl-C, got one that keeps {results}")


@pytest.fixture
def job():
    return Job(MNIST, "fp32", seconds=10.0)


PROVIDERS = {"providers": ["good loop", "step", "resident"]}


def statuses(measurements):
    assert all((m["case"], m["precision"]) == (MNIST, "fp32") for m in measurements)
    return {m["provider"]: m["status"] for m in measurements}


def test_a_job_without_time_is_listed_as_not_run(job):
    worker = Scripted()
    (result,) = run_job(job, worker, 9.0, keep)
    assert (result["status"], result["provider"], result["note"]) == ("not run", None, "9 s left, it is given 10 s")
    assert not worker.requests


def test_a_provider_that_crashes_costs_the_others_nothing(job):
    worker = Scripted(
        [PROVIDERS, {"running": "good loop"}, {"running": "step"}, Gone("its process ended with SIGSEGV")],
        [{"running": "resident"}, {"running": None}, ok("good loop"), ok("resident")],
    )
    measurements = run_job(job, worker, 100.0, keep)
    assert statuses(measurements) == {"step": "failed", "good loop": "ok", "resident": "ok"}
    assert measurements[0]["note"] == "its process ended with SIGSEGV"
    (_, first), (again, _) = worker.requests
    assert first == 2 * 10 + START and again == (job, {"step"})


def test_known_results_are_not_measured_again(job):
    known = [{"case": MNIST, "precision": "fp32", "provider": "step", "status": "ok", "note": "of an earlier run"}]
    worker = Scripted([PROVIDERS, {"running": "resident"}, ok("resident"), ok("good loop")])
    measurements = run_job(job, worker, 100.0, keep, known)
    assert measurements[0] == known[0]
    assert statuses(measurements) == {"step": "ok", "resident": "ok", "good loop": "ok"}
    assert worker.requests[0][0] == (job, {"step"})
    assert run_job(job, worker, 9.0, keep, known)[0] == known[0]


def test_a_crash_of_no_one_in_particular_fails_all(job):
    gone = Gone("its process ended with exit status 1")
    assert statuses(run_job(job, Scripted([gone]), 100.0, keep)) == {None: "failed"}
    during_timing = [PROVIDERS, {"provider": "step", "status": "cannot run"}, {"running": None}, gone]
    expected = {"step": "cannot run", "good loop": "failed", "resident": "failed"}
    assert statuses(run_job(job, Scripted(during_timing), 100.0, keep)) == expected
    # A job that its own limit ends has failed; one that the end of the part ends has not run.
    hung = [PROVIDERS, {"running": None}, TimedOut("no answer within 40 s")]
    assert set(statuses(run_job(job, Scripted(hung), 100.0, keep)).values()) == {"failed"}
    assert set(statuses(run_job(job, Scripted(hung), 30.0, keep)).values()) == {"not run"}


def test_the_loop_beside_the_compiled_one_is_not_listed_twice(job):
    name = "good loop, compiled"
    worker = Scripted([{"providers": ["good loop", name]}, ok("good loop"), ok(name)])
    assert statuses(run_job(job._replace(compiled=True), worker, 100.0, keep)) == {name: "ok"}
    assert statuses(run_job(job._replace(compiled=True), worker, 0.0, keep)) == {name: "not run"}


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
