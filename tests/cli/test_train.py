"""``pixelrnn train``: what it says and writes, how it ends and goes on."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pixelrnn_ext.training import checkpoint, output
from pixelrnn_ext.training.loop import Training

from .command_line import MODEL, pixelrnn, refused, train


def test_train_says_what_it_does(trained):
    out, lines = trained
    text = "\n".join(lines)
    assert re.search(r"command +pixelrnn train --data digits", text)
    assert re.search(r"data +digits \(8x8, 17 levels\): train 1445, validation 176, test 176; 1x8x8", text)
    assert (
        re.search(r"parameters +\d+ \(\d+\.\d KiB\)\n", text)
        and f"torch {torch.__version__}" in text
        and "threads" in text
    )
    assert re.search(r"epoch 1, step 90: train \d\.\d+, validation \d\.\d+ bits/dim.*images/s; digits", text)
    assert re.fullmatch(r"test: \d\.\d{4} bits/dim; digits .*176 images; diagonal PixelRNN, step 9[02],.*", lines[-1])
    names = {path.name for path in out.iterdir()}
    pictures = {"learning-curve.png", "samples-0000090.png", "samples-0000092.png"}
    assert names == {"last.safetensors", "best.safetensors", "log.jsonl", *pictures}
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {entry["event"] for entry in entries} == {"train", "validation", "test"}
    assert all("digits" in entry["data"] and entry["unit"] == "bits/dim" for entry in entries)


def test_ctrl_c_in_training_is_no_loss(tmp_path, capsys, monkeypatch):
    step = Training._step

    def interrupted(self, number):
        if number == 40:
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert train(straight) == 0
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Training, "_step", interrupted)
    assert train(resumed) == 130
    assert signal.getsignal(signal.SIGINT) is before
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"stopped after step 41; to go on: pixelrnn train --out {resumed} --resume"
    pixelrnn("train", "--out", resumed, "--resume")
    for name in (checkpoint.LAST, checkpoint.BEST):
        expected, got = (checkpoint.load(folder / name)[0] for folder in (straight, resumed))
        assert expected.keys() == got.keys() and all(torch.equal(expected[key], got[key]) for key in expected)


def test_a_resumed_training_may_be_longer(tmp_path, capsys):
    out = tmp_path / "longer"
    assert train(out) == 0
    capsys.readouterr()
    pixelrnn("train", "--out", out, "--resume", "--steps", "94")
    assert "from step 92" in capsys.readouterr().out
    assert checkpoint.load(out / checkpoint.LAST)[1]["progress"]["step"] == 94


def test_a_folder_in_use_is_refused_and_the_holder_is_named(trained, tmp_path, capsys, monkeypatch):
    """Before the data set is loaded; a thread's lock is no other thread's."""
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    shutil.copy(trained[0] / checkpoint.LAST, tmp_path)
    done = threading.Event()

    def hold(held):
        with output.locked(tmp_path, "pixelrnn train ..."):
            held.set()
            done.wait()

    with ThreadPoolExecutor(1) as other:
        held = threading.Event()
        other.submit(hold, held)
        held.wait()
        said = [refused(capsys, "train", "--out", tmp_path, *more) for more in (["--resume"], ["--data", "x", *MODEL])]
        done.set()
    expected = rf"{tmp_path} is being trained in by process {os.getpid()} on .+ since .+: pixelrnn train \.\.\."
    assert all(re.fullmatch(expected, sentence) for sentence in said), said


def test_a_training_without_a_last_checkpoint_is_kept_unless_overwritten(trained, tmp_path, capsys, monkeypatch):
    shutil.copy(trained[0] / checkpoint.BEST, tmp_path)
    shutil.copy(trained[0] / "log.jsonl", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("pixelrnn_ext.training.data.load", None)
        sentence = refused(capsys, "train", "--data", "digits", *MODEL, "--out", tmp_path)
    assert sentence.startswith(f"{tmp_path} holds a training: expected --resume to go on with it, --overwrite")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    # A command that cannot begin removes nothing.
    assert "got 'nothing'" in refused(
        capsys, "train", "--data", "digits", "--model", "nothing", "--out", tmp_path, "--overwrite"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(tmp_path, "--overwrite", "--steps", "1") == 0
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {entry["step"] for entry in entries} == {1}
    facts = checkpoint.load(tmp_path / checkpoint.LAST)[1]
    assert facts["progress"]["step"] == 1 and "overwrite" not in facts["arguments"]


def test_a_broken_line_of_the_log_is_left_out_and_said(trained, tmp_path, capsys):
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    log = tmp_path / "log.jsonl"
    before = log.read_bytes()
    log.write_bytes(b'{"a": 1}\n\xff\n' + before)
    pixelrnn("train", "--resume", "--out", tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"pixelrnn: {log}: line {n} is not an entry of a log, and is left out" for n in (1, 2)]
    assert log.read_bytes() == before


def test_no_matplotlib_is_said_once_and_ends_no_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "torchvision.utils", None)
    assert train(tmp_path, "--samples", "1", "--steps", "1") == 0
    said = capsys.readouterr().err.splitlines()
    for what in ("a learning curve", "pictures of samples"):
        assert sum(f"training goes on without {what}: " in line for line in said) == 1
    assert len(said) == 2 and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        *((name, name) for name in ("filelock", "safetensors.torch", "tqdm")),
        ("torch.utils.tensorboard", "pip install tensorboard"),
    ],
)
def test_a_package_that_training_needs_is_missed_before_the_work(tmp_path, capsys, monkeypatch, package, expected):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("pixelrnn_ext.training.data.load", None)
    train = ["train", "--data", "digits", *MODEL, "--out", tmp_path / "new", "--tensorboard"]
    assert expected in refused(capsys, *train)
    assert not (tmp_path / "new").exists()


def test_what_is_known_with_the_data_is_refused_before_the_training(tmp_path, capsys, monkeypatch):
    """The steps of epochs; and cuDNN then takes the kernels that repeat their bits."""

    def training(*_):
        raise ValueError(f"deterministic: {torch.backends.cudnn.deterministic}")

    train = ["train", "--data", "digits", *MODEL, "--epochs", "1", "--out", tmp_path / "new", "--warmup"]
    assert refused(capsys, *train, "91") == "expected a warmup within the 90 steps of the training, got 91"
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr("pixelrnn_ext.cli.train.Training", training)
    assert refused(capsys, *train, "90") == "deterministic: True"


def test_a_backend_that_cannot_run_is_one_sentence(tmp_path, capsys):
    assert train(tmp_path, "--backend", "resident") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pixelrnn: ") and "resident" in line


def test_processes_end_quietly_where_the_first_one_cannot_load(tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pixelrnn_ext"]
    command = ["train", "--data", "folder:nowhere", "--model", "row", "--device", "cpu", "--out", "x"]
    done = subprocess.run([sys.executable, *launcher, *command], cwd=tmp_path, capture_output=True, text=True)
    assert (
        done.stderr.count(f"expected a folder of images, got {tmp_path}/nowhere") == 1
        and "closed by peer" not in done.stderr
    )
    assert re.findall(r"exitcode +: (\d+)", done.stderr)[0] == "2"


def test_a_full_disk_while_training(tmp_path):
    """A limit of the operating system, in the middle of the file, in a process of its own."""
    script = """
import resource, sys
from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint
out = sys.argv[1]
train = ["train", "--out", out, "--samples", "0"]
assert cli.main([*train, "--data", "digits", *sys.argv[2:], "--steps", "2"]) == 0
before = open(out + "/last.safetensors", "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
status = cli.main([*train, "--resume", "--steps", "4"])
assert open(out + "/last.safetensors", "rb").read() == before
sys.exit(status)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out"), *MODEL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search(r"best.safetensors could not be written \(File too large\); the one that was .* kept", done.stderr)
    assert not list((tmp_path / "out").glob(".*")), "a temporary file is left"
