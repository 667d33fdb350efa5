import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench_training
from helpers import child
from pixelrnn_ext._process import WAIT_VARIABLES
from pixelrnn_ext.benchmark.children import Ended
from pixelrnn_ext.benchmark.timing import Times


def test_a_training_step_under_load_is_judged():
    options = SimpleNamespace(model="mnist-diagonal", images=16)
    times = Times(native=[0.1, 0.1, 0.1], reference=[1.2, None, 1.2])
    loaded, doubts = Times(native=[0.3, 0.3], reference=[2.4, 2.4]), {"native": "", "reference": ""}
    lines = [" ".join(line.split()) for line in bench_training.step_table(options, times, loaded, doubts).splitlines()]
    assert lines[2:] == [
        "mnist-diagonal native 100.0 160 1.0 300.0 3.0",
        "mnist-diagonal reference 1200.0 13 12.0 2400.0 2.0",
    ]
    lines = [" ".join(line.split()) for line in bench_training.verdicts(options, times, loaded).splitlines()]
    assert lines[2].endswith(">= 11 12 met") and lines[3].endswith("<= 2.5 3 missed")
    times["native"][1] = 0.2
    assert bench_training.verdicts(options, times, loaded).count(", unreliable") == 2
    options.images = 8
    assert "none" in bench_training.verdicts(options, times, loaded)


def test_steps_with_other_losses_are_not_timed():
    found = {"reference": [1.0, 0.9], "native": [1.0, 0.9], "JAX": [1.0, 0.9001]}
    expected = "MISMATCH: expected the losses [1.0, 0.9] of reference, got [1.0, 0.9001] of JAX"
    assert bench_training.mismatches(found) == [expected]


def test_a_step_on_a_gpu_is_compared_with_float64(monkeypatch):
    options = SimpleNamespace(model="mnist-diagonal", images=2, scope="check", compiled=False)
    rows = {row.provider: row for row in bench_training.gpu_rows(options, "cpu") if row.precision == "float32"}
    assert list(rows) == ["reference", "auto", "step", "resident"]
    facts = {}
    rows["reference"].measure(lambda **found: facts.update(found))
    assert facts["error"] < 1e-5 and facts["called"][1] > 0
    right, factors = bench_training.losses, iter((1.0001, 1.0))  # of the step, and of the reference

    def lie(run):
        factor = next(factors)
        return [factor * loss for loss in right(run)]

    monkeypatch.setattr(bench_training, "losses", lie)
    with pytest.raises(Ended, match="in the losses, allowed 1e-05"):
        rows["reference"].measure(lambda **found: None)


LIKE_COMMAND = """
import os, sys
from harness.alone import configure_like_command
configure_like_command()
print(os.environ["GOMP_SPINCOUNT"], "torch" in sys.modules)
"""


def test_a_benchmark_has_a_process_like_the_command_before_torch_is_imported():
    environment = child.environment(Path(bench_training.__file__).parent, without=WAIT_VARIABLES)
    done = child.python("-c", LIKE_COMMAND, env=environment)
    assert done.stdout == "1000 False\n", done.stderr


def user_ticks(pid):
    stat = Path(f"/proc/{pid}/stat")
    return int(stat.read_text().rpartition(")")[2].split()[11]) if stat.exists() else None


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_core_is_busy_until_its_user_ends(name):
    program = "import time\nfrom harness.busy import busy_core\nwith busy_core() as process:\n"
    program += "    print(process.pid, flush=True)\n    time.sleep(60)"
    environment = child.environment(Path(bench_training.__file__).parent)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as user:
        pid = int(user.stdout.readline())
        first, end = user_ticks(pid), time.monotonic() + 30
        while first is not None and user_ticks(pid) < first + 20:
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(user.pid, getattr(signal, name))
        try:
            # communicate() returns when two processes have closed the standard error: the program that the test
            # started, and the process that the program started to keep a core busy.
            user.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.kill(pid, signal.SIGKILL)
            raise
    assert user.returncode != 0
