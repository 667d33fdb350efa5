"""``pixelrnn train --tensorboard``: TensorBoard shows what the log holds."""

import json
import signal

import pytest

from pixelrnn_ext import cli
from pixelrnn_ext.training.loop import Training

from .command_line import pixelrnn, train


def board(out):
    """The scalars that TensorBoard shows of a folder: {name: {step: value}}; no step twice."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the tensorboard extra brings it"
    )
    events = accumulator.EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert all(len(dict(points)) == len(points) for points in scalars.values()), scalars
    return {name: dict(points) for name, points in scalars.items()}


def shows_the_log(out):
    """The scalars, which are those of the log."""
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    scalars = board(out)
    for event in ("train", "validation", "test"):
        logged = {e["step"]: pytest.approx(e["score"]) for e in entries if e["event"] == event}
        assert scalars.get(f"bits/dim/{event}", {}) == logged
    return scalars


def test_what_tensorboard_missed_or_is_true_no_more_is_mended_by_a_resumption(tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard extra brings it")
    assert train(tmp_path, "--steps", "30", "--tensorboard") == 0
    resume = ["train", "--out", str(tmp_path), "--resume"]
    pixelrnn(*resume, "--steps", "60", "--no-tensorboard")
    for steps in (60, 60, 70):  # of which the second has nothing to do, and the third is longer than a finished one
        pixelrnn(*resume, "--steps", steps, "--tensorboard")
        scalars = shows_the_log(tmp_path)
        assert list(scalars["bits/dim/test"]) == [steps]
        assert {25, 30, 50, 60} <= scalars["bits/dim/train"].keys()


@pytest.mark.sweep
def test_tensorboard_shows_the_log(tmp_path, monkeypatch):
    """After Ctrl-C, a resumption, a kill, after which steps are done again, and for a log that it was added to."""
    step = Training._step

    def ends(at, how):
        def interrupted(self, number):
            if number == at:
                how()
            return step(self, number)

        monkeypatch.setattr(Training, "_step", interrupted)

    pytest.importorskip("tensorboard", reason="the tensorboard extra brings it")
    assert train(tmp_path, "--steps", "30") == 0  # without
    ends(60, lambda: signal.raise_signal(signal.SIGINT))
    resume = ["train", "--out", str(tmp_path), "--resume", "--tensorboard", "--steps", "92"]
    assert cli.main(resume) == 130
    assert {25, 30, 50, 61} <= shows_the_log(tmp_path)["bits/dim/train"].keys()

    def crash():
        raise MemoryError

    ends(88, crash)
    assert cli.main(resume) == 2
    assert 75 in board(tmp_path)["bits/dim/train"]
    monkeypatch.setattr(Training, "_step", step)
    pixelrnn(*resume[:4])  # it goes on, since it was asked for before
    scalars = shows_the_log(tmp_path)
    assert list(scalars["bits/dim/test"]) == [92]
    assert scalars["images per second"].keys() == scalars["bits/dim/train"].keys()
    assert train(tmp_path, "--overwrite", "--steps", "1", "--tensorboard") == 0
    assert list(shows_the_log(tmp_path)["bits/dim/train"]) == [1]
