import contextlib
import re
import resource
import signal
import sys
from unittest.mock import Mock

import pytest
import torch

from helpers import child
from helpers.pictures import names_in
from helpers.tiny import assert_same_checkpoints
from pixelrnn_ext.training import checkpoint, distributed, journal, output
from pixelrnn_ext.training.loop import Training

from .command_line import MODEL, change_facts, error_of, pixelrnn, train

SIGNALS = signal.SIGINT, signal.SIGTERM


def test_train_says_what_it_does(trained):
    out, lines = trained
    text = "\n".join(lines)
    assert re.search(r"command +pixelrnn train --data digits", text)
    assert re.search(r"data +digits \(8x8, 17 levels\): train 1445, validation 176, test 176; 1x8x8", text)
    assert re.search(r"parameters +\d+ \(\d+\.\d KiB\)\n", text)
    assert f"torch {torch.__version__}" in text and "threads" in text
    assert re.search(r"epoch 1, step 90: train \d\.\d+, validation \d\.\d+ bits/dim.*images/s; digits", text)
    assert re.fullmatch(r"test: \d\.\d{4} bits/dim; digits .*176 images; diagonal PixelRNN, step 9[02],.*", lines[-1])
    pictures = {"learning-curve.png", "samples-0000090.png", "samples-0000092.png"}
    assert (out / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    assert {*names_in(out)} == {"last.safetensors", "best.safetensors", "log.jsonl", *pictures}
    entries = journal.read(out)
    assert {entry["event"] for entry in entries} == {"train", "validation", "test"}
    assert all("digits" in entry["data"] and entry["unit"] == "bits/dim" for entry in entries)


def test_ctrl_c_in_training_is_no_loss(trained, tmp_path, capsys, interrupt):
    before = signal.getsignal(signal.SIGINT)
    interrupt(Training, "_step", at=41)
    assert train(tmp_path, "--conditional") == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"stopped after step 41; to go on: pixelrnn train --out {tmp_path} --resume"
    pixelrnn("train", "--out", tmp_path, "--resume")
    assert_same_checkpoints(trained[0], tmp_path)


def test_a_finished_training_that_is_started_again_prints_its_test_score(copied, trained, capsys):
    pixelrnn("train", "--resume", "auto", "--out", copied)
    assert capsys.readouterr().out.splitlines()[-1] == trained[1][-1]
    assert_same_checkpoints(trained[0], copied)


def test_no_test_leaves_the_test_split_unscored_until_resume_asks_for_it(tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pixelrnn_ext.cli.train.split_score", None)
        assert train(tmp_path, "--no-test", "--steps", "1") == 0
        pixelrnn("train", "--out", tmp_path, "--resume", "--steps", "2")
    assert "test:" not in capsys.readouterr().out
    assert [entry["event"] for entry in journal.read(tmp_path)] == ["train", "validation"] * 2
    pixelrnn("info", tmp_path)
    assert "step 2 of 2, finished" in capsys.readouterr().out
    pixelrnn("train", "--out", tmp_path, "--resume", "--test")
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: ")


@pytest.mark.parametrize("command", ["train --resume auto --out", "evaluate"])
def test_signals_after_the_score_leave_the_exit_status(copied, capsys, monkeypatch, command):
    connect, handlers = distributed.world, [*map(signal.getsignal, SIGNALS)]

    @contextlib.contextmanager
    def world(*arguments):
        with connect(*arguments) as here:
            yield here
            for number in SIGNALS:
                signal.raise_signal(number)

    monkeypatch.setattr(distributed, "world", world)
    pixelrnn(command, copied)
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: ")
    assert [*map(signal.getsignal, SIGNALS)] == handlers


def test_a_training_that_began_with_the_former_choice_auto_goes_on(copied):
    last = copied / checkpoint.LAST
    change_facts(last, last, lambda facts: facts["arguments"].update(compile="auto"))
    pixelrnn("train", "--resume", "--out", copied, "--steps", "93")
    facts = checkpoint.load(last)[1]
    assert facts["progress"]["step"] == 93 and facts["arguments"]["compile"] == "off" and facts["compiled"] is False


@pytest.mark.sweep  # torch.compile takes long to import
def test_compile_on_fails_without_a_compiler(tmp_path):
    begin = ["-m", "pixelrnn_ext", "train", "--data", "digits", *MODEL, "--device", "cpu", "--out", tmp_path / "new"]
    broken = {"CXX": "false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = child.python(*begin, "--compile", "on", cwd=tmp_path, env=child.environment() | broken)
    sentence = "expected torch.compile to work for --compile on, got InvalidCxxCompiler: .*; --compile off trains"
    assert done.returncode == 2 and re.search(f": {sentence} without it$", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "new").exists()


def test_a_folder_in_use_is_refused_and_the_holder_is_named(copied, nothing_is_loaded, capsys, monkeypatch):
    monkeypatch.setattr("filelock.FileLock.acquire", Mock(side_effect=TimeoutError))
    (copied / output.LOCK).write_text("process 42 on elsewhere since 1999-12-31: pixelrnn train ...")
    for more in (["--resume"], ["--data", "x", *MODEL]):
        expected = f"{copied} is being trained in by process 42 on elsewhere since 1999-12-31: pixelrnn train ..."
        assert error_of(capsys, "train --out", copied, *more) == expected


def test_a_training_without_a_last_checkpoint_is_kept_unless_overwritten(copied, capsys, monkeypatch):
    (copied / checkpoint.LAST).unlink()
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    begin = ["train --data digits --out", copied]
    with monkeypatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.data.load", None)
        sentence = error_of(capsys, *begin, *MODEL)
    assert sentence.startswith(f"{copied} holds a training: expected --resume to go on with it, --overwrite")
    assert "got 'nothing'" in error_of(capsys, *begin, "--overwrite", "--model", "nothing")
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    assert train(copied, "--overwrite", "--steps", "1") == 0
    facts = checkpoint.load(copied / checkpoint.LAST)[1]
    assert facts["progress"]["step"] == 1 and "overwrite" not in facts["arguments"]


def test_a_broken_line_of_the_log_is_left_out_and_said(copied, capsys):
    log = copied / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b'{"a": 1}\n\xff\n' + before)
    pixelrnn("train", "--resume", "--out", copied)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"pixelrnn: {log}: line {n} is not an entry of a log, and is left out" for n in (1, 2)]
    assert log.read_bytes() == before


def test_a_missing_package_for_pictures_is_said_once_and_ends_no_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert train(tmp_path, "--samples", "1", "--steps", "1") == 0
    said = capsys.readouterr().err.splitlines()
    for what in ("a learning curve", "pictures of samples"):
        assert sum(f"training goes on without {what}: " in line for line in said) == 1
    assert len(said) == 2 and not list(tmp_path.glob("*.png"))


def test_cudnn_takes_the_kernels_that_repeat_their_bits(tmp_path, capsys, monkeypatch):
    def training(*_):
        raise ValueError(f"deterministic: {torch.backends.cudnn.deterministic}")

    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr("pixelrnn_ext.cli.train.Training", training)
    assert error_of(capsys, "train --data digits", *MODEL, "--out", tmp_path / "new") == "deterministic: True"


@contextlib.contextmanager
def file_size_limit(size):
    """Limits the size of the files that this process writes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_while_training(copied, capsys):
    before = (copied / checkpoint.LAST).read_bytes()
    with file_size_limit(len(before) // 2):
        sentence = error_of(capsys, "train", "--out", copied, "--resume", "--steps", "94")
    expected = r".*(best|last).safetensors could not be written \(File too large\); the one that was there is kept"
    assert re.fullmatch(expected, sentence)
    assert (copied / checkpoint.LAST).read_bytes() == before
    assert not list(copied.glob(".*")), "a temporary file is left"
