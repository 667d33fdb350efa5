"""A training's folder: one writer at a time, nothing of another training replaced, nothing that a kill left lost."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from helpers.tiny import ALONE, tiny_training
from pixelrnn_ext.training import checkpoint, curve, files, gallery, journal, loop, output
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.interrupt import Interrupt
from pixelrnn_ext.training.optional import MissingPackage

# As another training that holds the lock, in a process that needs no torch.
HOLD = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1] + "/.lock")
lock.acquire()
print("process 42 on elsewhere since 1999-12-31: pixelrnn train", file=open(sys.argv[1] + "/.lock", "w"), flush=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A folder in which another process trains, and that process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield tmp_path, process
    process.kill()
    process.communicate()


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_second_training_is_refused_and_told_who_the_first_is(held):
    out, process = held
    with pytest.raises(
        BlockingIOError, match="is being trained in by process 42 on elsewhere since .*: pixelrnn train$"
    ):
        tiny_training(out, steps=1).run()
    assert names(out) == [output.LOCK]
    process.kill()
    process.wait()
    assert names(out) == [output.LOCK], "as a crash leaves it"
    assert tiny_training(out, steps=1).run(), "a lock file that nobody holds is no training"
    assert output.LOCK not in names(out)


def test_a_resumption_is_refused_while_the_training_runs(tmp_path):
    first = tiny_training(tmp_path, steps=2)
    with output.locked(tmp_path, "the command"):
        first.save()
        # As another process: this one's lock is not its own.
        script = f"from filelock import FileLock; FileLock({str(tmp_path / output.LOCK)!r}, timeout=0).acquire()"
        tried = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert "Timeout" in tried.stderr
        assert (tmp_path / output.LOCK).read_text().startswith(f"process {os.getpid()} on ")
        assert (tmp_path / output.LOCK).read_text().endswith(": the command\n")
        first.resume(tmp_path / checkpoint.LAST)
        assert first.run(), "who holds it may enter again"
        assert output.LOCK in names(tmp_path), "and does not let go of it by that"
    assert output.LOCK not in names(tmp_path)


@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_the_lock_is_released_whatever_happens(tmp_path, how):
    out = tmp_path / "a" / "b"
    error = {"error": OSError, "interrupt": KeyboardInterrupt}[how]
    with pytest.raises(error), output.locked(out):
        raise error
    assert not (tmp_path / "a").exists(), "folders that were made for nothing are removed"
    with output.locked(out):
        (out / "file").touch()
    assert names(out) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EACCES], ids=errno.errorcode.get)
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    if code == errno.EACCES:
        with pytest.raises(PermissionError), output.locked(tmp_path):
            pass
    else:
        with pytest.warns(UserWarning, match="is on a file system without locks"), output.locked(tmp_path):
            pass


def test_a_filelock_that_is_too_old_says_so(tmp_path, monkeypatch):
    def old(path, *, timeout, is_singleton):
        raise AssertionError

    monkeypatch.setattr("filelock.FileLock", old)
    with (
        pytest.raises(MissingPackage, match=r"expected filelock 3.32 or later, got \d"),
        output.locked(tmp_path / "new"),
    ):
        pass
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("first", [True, False], ids=["first", "other"])
def test_processes_fail_alike(monkeypatch, first):
    world = World(0 if first else 1, 2, ALONE.device)
    said = []
    monkeypatch.setattr(World, "any", lambda self, flag: said.append(flag) or True)
    error = BlockingIOError if first else ChildProcessError
    with pytest.raises(error), world.alike():
        if first:
            raise BlockingIOError
    assert said == [first]


@pytest.mark.parametrize("name", [checkpoint.LAST, checkpoint.BEST, journal.LOG, curve.CURVE, "samples-0000005.png"])
def test_what_is_left_of_a_training_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("what took days")
    resume = "--resume .*" if name.endswith(".safetensors") else ""
    with pytest.raises(ValueError, match=f"holds a training: expected {resume}--overwrite .*got {name} there"):
        tiny_training(tmp_path, steps=1).run()
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "what took days"
    new = tiny_training(tmp_path, steps=1)
    new.overwrite = True
    assert new.run()
    assert checkpoint.load(tmp_path / checkpoint.LAST)[1]["progress"]["step"] == 1
    assert ("samples-0000005.png" in names(tmp_path)) is False


@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_what_is_overwritten_stays_until_there_is_a_checkpoint(tmp_path, monkeypatch, how):
    assert tiny_training(tmp_path, steps=6).run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    error = {"error": MemoryError, "interrupt": KeyboardInterrupt}[how]
    new = tiny_training(tmp_path, steps=6)
    new.overwrite = True

    def fail(*_, **options):
        assert new.journal.entries, "after a point of the log"
        raise error

    monkeypatch.setattr(loop, "nats_per_image", fail)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    with pytest.raises(error):
        new.run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_training_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path):
    new = tiny_training(tmp_path / "new", steps=30, save_every=100, learning_rate=1e30, clip=0.0)
    with pytest.raises(FloatingPointError, match="there is no checkpoint yet; try a lower learning rate or clip"):
        new.run()
    assert not (tmp_path / "new").exists()


def test_a_resumed_training_is_no_shorter_than_it_is(tmp_path):
    assert tiny_training(tmp_path, steps=4).run()
    with pytest.raises(ValueError, match="expected a training no shorter than the 4 steps that are done, got one of 3"):
        tiny_training(tmp_path, steps=3).resume(tmp_path / checkpoint.LAST)


def test_other_files_are_no_training_and_stay(tmp_path):
    others = ["notes.txt", "samples.png", ".notes.txt.here.1.tmp"]
    left = [".last.safetensors.here.1.tmp", ".samples-0000001.png.77.tmp", ".log.jsonl.77.tmp"]
    for name in [*others, *left]:
        (tmp_path / name).write_text("mine")
    (tmp_path / journal.LOG).touch()
    assert tiny_training(tmp_path, steps=1).run()
    assert set(others) < set(names(tmp_path)) and not set(left) & set(names(tmp_path))


def test_a_training_without_its_last_checkpoint_goes_on_from_the_best(tmp_path):
    assert output.resumable(tmp_path).name == checkpoint.LAST
    (tmp_path / checkpoint.BEST).touch()
    assert output.resumable(tmp_path).name == checkpoint.BEST
    (tmp_path / checkpoint.LAST).touch()
    assert output.resumable(tmp_path).name == checkpoint.LAST


# Kills and interrupts at every place where something is written


class Killed(BaseException):
    """Nothing that this package catches."""


WRITES = 17  # places to stop at, of the training below
STEPS = dict(steps=7, save_every=3, samples=1, batch_size=4)  # an epoch of 5 steps; checkpoints inside, too


def cheap_curve(path, entries, title, unit):
    files.write_atomically(path, json.dumps([entry["step"] for entry in entries]).encode())


def train(out, act):
    """Trains, calling ``act(number)`` before every write of a file or of a line of the log; how many there were."""
    number = 0

    def watched(write):
        def wrapper(*args, **kwargs):
            nonlocal number
            number += 1
            act(number)
            write(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "write_learning_curve", cheap_curve)
        patch.setattr(files, "_replace", watched(files._replace))
        patch.setattr(journal.Journal, "write", watched(journal.Journal.write))
        training = tiny_training(out, model="pixelcnn", **STEPS)
        if out.exists() and output.own_files(out) and output.resumable(out).exists():
            training.resume(output.resumable(out))
        with Interrupt() as stop:
            training.run(stop)
    return number


def content(out):
    """What must be the same in the end, however often the training was stopped: but for times, and points of the
    log."""
    log = [(entry["event"], entry["step"], entry["score"]) for entry in journal.read(out)]
    return {
        "validation": [entry for entry in log if entry[0] == "validation"],
        "train": sorted({entry[1] for entry in log if entry[0] == "train"} & {5, 7}),
        "curve": json.loads((out / curve.CURVE).read_text())[-1],
        "samples": {path.name: path.read_bytes() for path in sorted(out.glob("samples-*"))},
        "names": names(out),
        "facts": [checkpoint.load(out / name)[1] for name in (checkpoint.LAST, checkpoint.BEST)],
        "tensors": [
            {key: tensor.tolist() for key, tensor in checkpoint.load(out / name)[0].items()}
            for name in (checkpoint.LAST, checkpoint.BEST)
        ],
    }


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What a training leaves that nothing stopped."""
    out = tmp_path_factory.mktemp("straight")
    assert train(out, lambda number: None) == WRITES
    return content(out)


@pytest.mark.parametrize(
    ("how", "place"),
    [("kill", place) for place in range(1, WRITES + 1)]
    # Those in an evaluation; elsewhere an interrupt does what test_training.py sees it do.
    + [
        pytest.param("interrupt", place, marks=[] if place in (6, 7, 9, WRITES) else pytest.mark.sweep)
        for place in range(1, WRITES + 1)
    ],
)
def test_what_a_stop_between_two_writes_left_out_is_made_up(tmp_path, straight, how, place):
    def stop(number):
        if number == place and how == "kill":
            raise Killed
        if number == place:
            signal.raise_signal(signal.SIGINT)

    with contextlib.suppress(Killed):
        train(tmp_path, stop)
    assert bool(output.own_files(tmp_path)) == output.resumable(tmp_path).exists()
    train(tmp_path, lambda number: None)
    assert content(tmp_path) == straight


@pytest.mark.parametrize("lost", ["samples-0000007.png", curve.CURVE])
def test_a_picture_of_the_last_step_that_is_missing_is_made_up(tmp_path, straight, lost):
    train(tmp_path, lambda number: None)
    (tmp_path / lost).unlink()
    train(tmp_path, lambda number: None)
    assert content(tmp_path) == straight
