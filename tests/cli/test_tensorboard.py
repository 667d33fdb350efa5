import itertools
import signal
from functools import partial
from types import SimpleNamespace

import pytest

from pixelrnn_ext import cli
from pixelrnn_ext.training import journal
from pixelrnn_ext.training.loop import Training

from .command_line import pixelrnn, train


def read_scalars(out):
    """Returns {curve of TensorBoard: {step: value}}. Fails if a curve has a step twice."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert all(len(dict(points)) == len(points) for points in scalars.values()), scalars
    return {name: dict(points) for name, points in scalars.items()}


def check_scalars(out):
    entries = journal.read(out)
    scalars = read_scalars(out)
    for event in ("train", "validation", "test"):
        logged = {e["step"]: pytest.approx(e["score"]) for e in entries if e["event"] == event}
        assert scalars.get(f"bits/dim/{event}", {}) == logged
    return scalars


def test_tensorboard_shows_the_log(tmp_path, monkeypatch):
    """TensorBoard shows all steps of the log once, even after a crash or steps without --tensorboard.

    The clock is set back all the time. TensorBoard reads files in the order of their times.
    """
    writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer", reason="an extra brings it")
    monkeypatch.setattr(writer, "time", SimpleNamespace(time=partial(next, itertools.count(2 * 10**9, -1))))
    resume = ["train", "--out", str(tmp_path), "--resume"]
    step, actions = Training._step, {}

    def act_and_step(self, number):
        actions.pop(number, int)()
        return step(self, number)

    def crash():
        raise MemoryError

    monkeypatch.setattr(Training, "_step", act_and_step)
    assert train(tmp_path, "--steps", "30") == 0
    actions[40] = lambda: signal.raise_signal(signal.SIGINT)
    assert cli.main([*resume, "--steps", "60", "--tensorboard"]) == 130
    assert {25, 30, 41} <= check_scalars(tmp_path)["bits/dim/train"].keys()
    actions[55] = crash
    assert cli.main([*resume, "--steps", "60", "--tensorboard"]) == 2
    assert 50 in read_scalars(tmp_path)["bits/dim/train"]
    pixelrnn(*resume)
    scalars = check_scalars(tmp_path)
    assert scalars["images per second"].keys() == scalars["bits/dim/train"].keys() >= {25, 30, 41, 50, 60}
    pixelrnn(*resume, "--steps", "80", "--no-tensorboard")
    for steps in (80, 80, 90):  # the second run has nothing to do, the third continues a finished training
        pixelrnn(*resume, "--steps", steps, "--tensorboard")
        scalars = check_scalars(tmp_path)
        assert list(scalars["bits/dim/test"]) == [steps] and {75, 80} <= scalars["bits/dim/train"].keys()
    assert train(tmp_path, "--overwrite", "--steps", "1", "--tensorboard") == 0
    assert list(check_scalars(tmp_path)["bits/dim/train"]) == [1]
