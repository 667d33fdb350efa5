"""Tests that one training at a time writes to a folder, and that a killed training loses nothing."""

import contextlib
import errno
import fcntl
import json
import os
import signal
from unittest.mock import Mock

import pytest

from helpers.pictures import names_in
from helpers.tiny import resumed_training, tiny_training
from pixelrnn_ext.training import checkpoint, files, journal, loop, output
from pixelrnn_ext.training.interrupt import Interrupt
from pixelrnn_ext.training.optional import MissingPackage


def lock(file):
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_second_training_is_refused_and_told_who_the_first_is(tmp_path):
    with (tmp_path / output.LOCK).open("w") as file:
        lock(file)
        file.write("process 42 on elsewhere since 1999-12-31: pixelrnn train\n")
        file.flush()
        expected = "is being trained in by process 42 on elsewhere since .*: pixelrnn train$"
        with pytest.raises(BlockingIOError, match=expected):
            tiny_training(tmp_path, steps=1).run()
    assert names_in(tmp_path) == [output.LOCK], "as a crash leaves it"
    assert tiny_training(tmp_path, steps=1).run(), "a lock file that nobody holds is no training"
    assert output.LOCK not in names_in(tmp_path)


def test_a_resumption_is_refused_while_the_training_runs(tmp_path):
    first = tiny_training(tmp_path, steps=2)
    with output.locked(tmp_path, "the command"):
        first.save()
        with (tmp_path / output.LOCK).open("a") as file, pytest.raises(BlockingIOError):
            lock(file)
        holder = (tmp_path / output.LOCK).read_text()
        assert holder.startswith(f"process {os.getpid()} on ") and holder.endswith(": the command\n")
        first.resume(tmp_path / checkpoint.LAST)
        assert first.run(), "who holds it may enter again"
        assert output.LOCK in names_in(tmp_path), "and does not let go of it by that"
    assert output.LOCK not in names_in(tmp_path)


def test_the_lock_is_released_whatever_happens(tmp_path):
    out = tmp_path / "a" / "b"
    with pytest.raises(KeyboardInterrupt), output.locked(out):
        raise KeyboardInterrupt
    assert not (tmp_path / "a").exists(), "folders that were made for nothing are removed"
    with output.locked(out):
        (out / "file").touch()
    assert names_in(out) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    monkeypatch.setattr("filelock.FileLock.acquire", Mock(side_effect=OSError(code, os.strerror(code))))
    refused = pytest.raises(PermissionError)
    warned = pytest.warns(UserWarning, match="is on a file system without locks")
    with refused if code == errno.EACCES else warned, output.locked(tmp_path):
        pass


def test_a_filelock_that_is_too_old_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("filelock.FileLock", lambda path, *, timeout, is_singleton: None)
    refused = pytest.raises(MissingPackage, match=r"expected filelock 3.32 or later, got \d")
    with refused, output.locked(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [checkpoint.LAST, checkpoint.BEST, journal.LOG, output.CURVE, "samples-0000005.png"])
def test_what_is_left_of_a_training_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("what took days")
    resume = "--resume .*" if name.endswith(".safetensors") else ""
    with pytest.raises(ValueError, match=f"holds a training: expected {resume}--overwrite .*got {name} there"):
        tiny_training(tmp_path, steps=1).run()
    assert names_in(tmp_path) == [name] and (tmp_path / name).read_text() == "what took days"
    new = tiny_training(tmp_path, steps=1)
    new.overwrite = True
    assert new.run()
    assert checkpoint.load(tmp_path / checkpoint.LAST)[1]["progress"]["step"] == 1
    assert "samples-0000005.png" not in names_in(tmp_path)


def test_what_is_overwritten_stays_until_there_is_a_checkpoint(tmp_path, monkeypatch):
    assert tiny_training(tmp_path, steps=6).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    new = tiny_training(tmp_path, steps=6)
    new.overwrite = True

    def fail(*_, **options):
        assert new.journal.entries, "after a point of the log"
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "nats_per_image", fail)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        new.run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_resumed_training_is_no_shorter_than_it_is(tmp_path):
    assert tiny_training(tmp_path, steps=4).run()
    with pytest.raises(ValueError, match="expected a training no shorter than the 4 steps that are done, got one of 3"):
        resumed_training(tmp_path, steps=3)


def test_other_files_are_no_training_and_stay(tmp_path):
    others = ["notes.txt", "samples.png", ".notes.txt.here.1.tmp"]
    left = [".last.safetensors.here.1.tmp", ".samples-0000001.png.77.tmp", ".log.jsonl.77.tmp"]
    for name in [*others, *left]:
        (tmp_path / name).write_text("mine")
    (tmp_path / journal.LOG).touch()
    assert tiny_training(tmp_path, steps=1).run()
    assert set(others) < set(names_in(tmp_path)) and not set(left) & set(names_in(tmp_path))


def test_a_training_without_its_last_checkpoint_goes_on_from_the_best(tmp_path):
    assert output.resume_path(tmp_path).name == checkpoint.LAST
    for name in (checkpoint.BEST, checkpoint.LAST):
        (tmp_path / name).touch()
        assert output.resume_path(tmp_path).name == name


class Killed(BaseException):
    """Stands for a kill of the process, which the package cannot catch."""


WRITES = 17  # how often a training with STEPS writes a file or a line of its log
# An epoch has 5 steps, so that saving every 3 steps also writes within an epoch.
STEPS = dict(steps=7, save_every=3, samples=1, batch_size=4)


def train(out, before_write):
    """Trains, and calls ``before_write(number)`` before each file or line of the log. Returns the number of writes."""
    number = 0

    def watched(write):
        def wrapper(*args, **kwargs):
            nonlocal number
            number += 1
            before_write(number)
            write(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_replace", watched(files._replace))
        patch.setattr(journal.Journal, "write", watched(journal.Journal.write))
        training = tiny_training(out, model="pixelcnn", **STEPS)
        if out.exists() and output.training_files(out) and output.resume_path(out).exists():
            training.resume(output.resume_path(out))
        with Interrupt() as stop:
            training.run(stop)
    return number


def content(out):
    """Returns the results of a training that an interruption must not change."""
    log = [(entry["event"], entry["step"], entry["score"]) for entry in journal.read(out)]
    loaded = [checkpoint.load(out / name) for name in (checkpoint.LAST, checkpoint.BEST)]
    return {
        "validation": [entry for entry in log if entry[0] == "validation"],
        "train": sorted({entry[1] for entry in log if entry[0] == "train"} & {5, 7}),
        "curve": json.loads((out / output.CURVE).read_text())[-1],
        "samples": {path.name: path.read_bytes() for path in sorted(out.glob("samples-*"))},
        "names": names_in(out),
        "facts": [facts for _, facts in loaded],
        "tensors": [{key: tensor.tolist() for key, tensor in tensors.items()} for tensors, _ in loaded],
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    assert train(out, lambda number: None) == WRITES
    return content(out)


PLACES = range(1, WRITES + 1)
# These tests number the files and log entries that a training writes, from 1. The set holds the numbers of the writes
# that happen during an evaluation of the model.
IN_AN_EVALUATION = {4, 6, 7, 9, WRITES}


@pytest.mark.parametrize(
    ("how", "place"),
    [
        *(("kill", place) for place in PLACES),
        *(("interrupt", place) for place in sorted(IN_AN_EVALUATION)),
        *(pytest.param("interrupt", place, marks=pytest.mark.sweep) for place in {*PLACES} - IN_AN_EVALUATION),
    ],
)
def test_what_a_stop_between_two_writes_left_out_is_made_up(tmp_path, uninterrupted, how, place):
    def kill():
        raise Killed

    before_write = {"kill": kill, "interrupt": lambda: signal.raise_signal(signal.SIGINT)}[how]
    with contextlib.suppress(Killed):
        train(tmp_path, lambda number: before_write() if number == place else None)
    assert bool(output.training_files(tmp_path)) == output.resume_path(tmp_path).exists()
    if how == "interrupt":
        scored = [entry["step"] for entry in journal.read(tmp_path) if entry["event"] == "validation"]
        assert checkpoint.load(tmp_path / checkpoint.LAST)[1]["progress"]["evaluated"] in (0, *scored)
    train(tmp_path, lambda number: None)
    assert content(tmp_path) == uninterrupted


def test_a_picture_of_the_last_step_that_is_missing_is_made_up(tmp_path, uninterrupted):
    train(tmp_path, lambda number: None)
    for lost in ("samples-0000007.png", output.CURVE):
        (tmp_path / lost).unlink()
        train(tmp_path, lambda number: None)
        assert content(tmp_path) == uninterrupted
