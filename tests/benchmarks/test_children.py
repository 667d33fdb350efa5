"""Tests the child processes of the benchmarks with tasks that hang, die and lie."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench_diag
from helpers import child
from helpers.bad_tasks import Task
from pixelrnn_ext.benchmark.children import Children


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(*pids):
    end = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


BAD = {
    "crash": ("failed", "its process ended with SIGSEGV: Fatal Python error: Segmentation fault"),
    "abort": ("failed", "its process ended with SIGABRT: what(): CUDA error: an illegal memory access was encountered"),
    "raise": ("failed", "RuntimeError: CUDA error: broken"),
    "wrong": ("wrong", "error 1e+00 in output"),
    "too large": ("cannot run", "too large"),
    "refuse": ("cannot run", "RuntimeError: the resident path cannot run: too wide"),
}


@pytest.mark.parametrize(
    "hows",
    [("crash", "too large", "wrong"), pytest.param(("abort", "raise", "refuse"), marks=pytest.mark.sweep)],
    ids=" ".join,
)
def test_a_bad_task_costs_the_others_nothing(hows, monkeypatch):
    monkeypatch.delenv("PIXELRNN_SELF_CHECK", raising=False)
    processes = []
    with Children() as children:
        for how in hows:
            status, note = BAD[how]
            children.run(Task("print"))
            outcome, good = children.run(Task(how)), children.run(Task("good"))
            assert (outcome["status"], outcome["note"]) == (status, note)
            assert ("misbehave" in outcome.get("log", "")) == (how in ("crash", "abort"))
            assert "printed by an earlier task" not in outcome.get("log", "")
            assert good["status"] == "ok" and good["self_check"] == "0"
            # Only a process that may be damaged is replaced.
            assert (outcome["process"] == good["process"]) == (status == "cannot run")
            processes.append(good["process"])
    assert wait_for_end(*processes) and "PIXELRNN_SELF_CHECK" not in os.environ


def test_a_task_that_hangs_is_killed_with_the_processes_that_it_started():
    with Children() as children:
        children.run(Task("good"))
        start = time.monotonic()
        outcome = children.run(Task("orphan", seconds=1.0))
        assert time.monotonic() - start < 12
        assert outcome["status"] == "failed" and outcome["note"] == "it did not end within 1 s, and was killed"
        assert wait_for_end(outcome["process"], outcome["started"])
        assert children.run(Task("good"))["status"] == "ok"


PARENT = """
from helpers.bad_tasks import Task
from pixelrnn_ext.benchmark.children import Children
if __name__ == "__main__":
    with Children() as children:
        print(children.run(Task("good"))["process"], flush=True)
        children.run(Task("hang", seconds=60))
"""


@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.sweep) for n in ("SIGINT", "SIGTERM")), "SIGKILL"]
)
def test_a_child_ends_with_its_parent(name, tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    environment = child.environment(child.TESTS, Path(bench_diag.__file__).parent)
    with subprocess.Popen([sys.executable, program], env=environment, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)  # until the child process hangs
        os.kill(parent.pid, getattr(signal, name))
        assert wait_for_end(pid), f"process {pid} outlived its parent"
