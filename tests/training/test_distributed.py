"""Two processes share each batch, and train a model as one process does."""

import itertools
import re
import signal
import threading
from unittest.mock import Mock

import pytest
import torch

from helpers import child
from helpers.pictures import write_named_pictures
from helpers.tiny import SINGLE_PROCESS, tiny_training
from pixelrnn_ext.training import checkpoint, distributed, journal, stopping
from pixelrnn_ext.training.interrupt import Interrupt

from . import two_processes, ways_out

NAMES = [f"{animal}/{i}.png" for animal in ("cats", "dogs") for i in range(60)]
# These options switch on everything that draws random numbers. The last validation batch has one image, so one of the
# two processes gets none.
OPTIONS = "--image-size 8 --gray --model row --hidden-channels 3 --num-layers 1 --head-channels 8 --conditional"
OPTIONS += " --flip --shift 1 --optimiser adamw --weight-decay 0.1 --schedule cosine --batch-size 10 --steps 12"
OPTIONS += " --ema 0.9 --samples 0 --device cpu"


def run_two_processes(training, folder):
    done = child.processes(2, two_processes.__file__, folder, *training, folder, cwd=folder)
    printed, said = map("".join, (done.stdout, done.stderr))
    assert done.status == [0, 0], said
    return printed, said


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs a training in one process, and in two processes.

    Returns (folder of the training, printed text) of both, and the standard error of the two processes.
    """
    pictures, one, two = (tmp_path_factory.mktemp(name) for name in ("pictures", "one", "two"))
    training = ["train", "--data", f"folder:{write_named_pictures(pictures, NAMES)}", *OPTIONS.split(), "--out"]
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert two_processes.command_in_float64([*training, str(one)]) == 0
    # Each process computes its five images of a batch one after the other.
    printed, said = run_two_processes([*training[:-1], "--accumulate", "5", "--out"], two)
    return (one, "\n".join(lines)), (two, printed), said


def test_processes_end_without_threads_and_texts_of_gloo(tmp_path):
    """Python may abort while it ends if a thread of a process group still runs."""
    done = child.processes(2, ways_out.__file__, cwd=tmp_path)
    assert done.status == [ways_out.STATUS] * 2, done.stderr
    lines = [
        f"{line} 0" for line in ("data 2", "nowhere 0", "gradients 130", "sum 130", "agreement 130", "barrier 130")
    ]
    first, second = (printed.splitlines() for printed in done.stdout)
    assert [line for line in first if line in lines] == lines, done
    assert second == [line.replace("130", "2") for line in lines], done
    first, second = (said.splitlines() for said in done.stderr)
    assert first == [f"pixelrnn: process 0: expected a folder of images, got {tmp_path}/nowhere"] + ["interrupted"] * 4
    lost = "pixelrnn: another process ended, or did not answer within --timeout seconds"
    assert second == [lost] * 4


def test_two_processes_train_as_one_does(runs):
    (expected, one), (got, two) = (checkpoint.load(out / checkpoint.LAST) for out, _ in runs[:2])
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert two["progress"]["best"] == pytest.approx(one["progress"]["best"], rel=1e-11)


@pytest.mark.sweep
def test_two_compiled_processes_train_as_one_does(runs, tmp_path):
    one = runs[0][0]
    expected, facts = checkpoint.load(one / checkpoint.LAST)
    data = facts["arguments"]["data"]
    printed, said = run_two_processes(["train", "--data", data, *OPTIONS.split(), "--compile", "on", "--out"], tmp_path)
    assert printed.count("the training step was compiled in ") == 1, said
    got, facts = checkpoint.load(tmp_path / checkpoint.LAST)
    assert facts["compiled"]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_all_processes_stop_after_the_step_in_which_one_got_a_signal(runs):
    _, (two, _), said = runs
    assert re.findall(r"stopped after step (\d+);", said) == ["6", "9"]
    (expected, _), (got, _) = (checkpoint.load(out / checkpoint.LAST) for out in (two, two / "stopped"))
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
    entries = [(entry["event"], entry["step"]) for entry in journal.read(two / "stopped")]
    assert [step for event, step in entries if event == "validation"] == [9, 12]


def test_flags_are_exchanged_at_times_that_all_processes_know(monkeypatch):
    """Another process, which takes longer for a step, is asked to stop while the third exchange runs."""
    others_flags, begun, waited = [0, 0, 0, 1], [], []

    def all_reduce(values, group, async_op=False):
        begun.append(step)
        values += torch.tensor([others_flags[len(begun) - 1], 2 * stopping.SECONDS / 3.5 - float(values[1])])
        return Mock(wait=lambda: waited.append(step))

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    agreed = stopping.AgreedStop(lambda: False, distributed.World(0, 2, torch.device("cpu"), object()))
    for step in range(20):  # noqa: B007
        if agreed():
            break
    assert (begun, waited) == ([0, 1, 4, 7], [1, 4, 7, 10])


def test_there_is_one_log(runs):
    (one, printed), (two, also_printed), _ = runs
    logs = journal.read(one), journal.read(two)
    for first, second in zip(*logs):
        assert second["score"] == pytest.approx(first["score"], rel=1e-9)
    for log in logs:
        events = ["train 4", "train 8", "train 9", "validation 9", "train 12", "validation 12", "test 12"]
        assert [f"{entry['event']} {entry['step']}" for entry in log] == events
    assert also_printed.count("test: ") == 1 and "2 processes" in also_printed
    assert "torchrun --nproc-per-node 2 -m pixelrnn_ext train" in also_printed
    assert re.findall("test: .*", also_printed) == re.findall("test: .*", printed)


def test_no_step_waits_for_the_sum_of_the_losses(tmp_path):
    """An entry is written when the next one begins, and before a checkpoint."""
    training, waited = tiny_training(tmp_path), []
    training.journal, training._bar, training._start = Mock(), Mock(), 0.0
    sums = lambda values: lambda: waited.append(training.progress.step) or 2 * values  # noqa: E731
    training.world = Mock(size=2, begin_sum=sums)
    for step, nats, at_once in ((4, 4.0, False), (8, 12.0, False), (9, 1.0, True)):
        training.progress.step, training._steps_since_log = step, 1 if at_once else 4
        training._nats_since_log += nats
        training._log_loss(at_once)
    assert waited == [8, 9, 9]
    written = [(call.args[1], call.kwargs["score"]) for call in training.journal.write.call_args_list]
    assert written == [(4, training.data.score(20.0)), (8, training.data.score(60.0)), (9, training.data.score(20.0))]


def test_lstm2d_with_sizes(runs):
    _, (two, _), said = runs
    assert "Grad strides do not match" not in said  # torch's warning that it copies every gradient
    for rank in range(2):
        got = torch.load(two / f"lstm2d-{rank}.pt")
        torch.testing.assert_close(got, two_processes.train_lstm2d(SINGLE_PROCESS), rtol=1e-9, atol=1e-9)


def test_a_signal_in_an_exchange_comes_after_it(monkeypatch):
    """A training sees the signal by its own handler. A command without such a handler gets a KeyboardInterrupt."""
    gathered = []

    def gather(outcomes, outcome, group):
        signal.raise_signal(signal.SIGINT)
        gathered.append(outcome)
        outcomes[:] = [outcome, (["other"], None)]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    world, found = distributed.World(0, 2, torch.device("cpu"), object()), []
    with Interrupt() as stop:
        found += world.map(str, range(3))
    assert stop() and found == ["0", "other", "2", "other"]
    found.clear()
    with pytest.raises(distributed.AllInterrupted):
        for result in world.map(str, range(3)):
            found.append(result)
    assert found == ["0", "other"] and gathered[-1] == ([], "interrupted")


def test_a_signal_just_behind_a_block_does_not_leave_its_exchange_running(monkeypatch):
    """The signal comes after the block, and before its handler."""
    enter, calls = Interrupt.__enter__, itertools.count()

    def entered(self):
        if next(calls) == 0:
            signal.raise_signal(signal.SIGINT)
        return enter(self)

    monkeypatch.setattr(Interrupt, "__enter__", entered)
    monkeypatch.setattr(distributed.World, "sum", lambda self, values: values)
    before = threading.active_count()
    world = distributed.World(0, 2, torch.device("cpu"), object(), alive=0.01)
    with pytest.raises(KeyboardInterrupt), world._patience():
        pass
    assert next(calls) == 2 and threading.active_count() == before


PATIENT = """
import os
import signal
import sys
import time

from pixelrnn_ext.training import distributed

sums = 0


def summed(self, values):
    global sums
    sums += 1
    if is_signalled and self.rank == 1 and sums == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return sum_of_world(self, values)


def load():
    for _ in range(6000):
        if sums > 3 and not is_signalled:
            return "data"
        time.sleep(0.01)
    raise TimeoutError


sum_of_world, distributed.World.sum = distributed.World.sum, summed
with distributed.world("cpu") as here:
    here.alive = 0.05
    for is_signalled in (False, True):
        sums = 0
        try:
            here.first_then_others(load)
            os.write(1, b"loaded\\n")
        except KeyboardInterrupt:
            os.write(1, b"interrupted\\n")
"""


def test_processes_tell_each_other_that_they_load_and_get_signals(tmp_path):
    """A process that loads makes exchanges, so that the others wait for it. A signal ends the second load."""
    (tmp_path / "patient.py").write_text(PATIENT)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = child.python(*launcher, tmp_path / "patient.py", env=child.environment() | {"OMP_NUM_THREADS": "1"})
    assert sorted(done.stdout.split()) == ["interrupted"] * 2 + ["loaded"] * 2, done.stderr
