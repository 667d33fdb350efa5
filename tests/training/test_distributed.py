"""Two processes that torchrun started train as one process does on the joint batch."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from helpers import child
from helpers.pictures import write_named_pictures
from helpers.tiny import ALONE
from pixelrnn_ext.training import checkpoint, journal

from . import two_processes

NAMES = [f"{animal}/{i}.png" for animal in ("cats", "dogs") for i in range(60)]
# All options that draw numbers. The last batch of 11 images to validate has none for the second process.
OPTIONS = "--image-size 8 --gray --model row --hidden-channels 3 --num-layers 1 --head-channels 8 --conditional"
OPTIONS += " --flip --shift 1 --optimiser adamw --weight-decay 0.1 --schedule cosine --batch-size 10 --steps 12"
OPTIONS += " --ema 0.9 --samples 0 --device cpu"


class Run(NamedTuple):
    out: Path
    printed: str
    said: str = ""  # on standard error


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same training in this process and in two, which have trained an LSTM2d before, and fail afterwards."""
    pictures, one, two = (tmp_path_factory.mktemp(name) for name in ("pictures", "one", "two"))
    training = ["train", "--data", f"folder:{write_named_pictures(pictures, NAMES)}", *OPTIONS.split(), "--out"]
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert two_processes.command_in_float64([*training, str(one)]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", two_processes.__file__]
    environment = child.environment(child.TESTS) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, two, *training, two]
    done = subprocess.run(command, cwd=two, env=environment, capture_output=True, text=True)
    return Run(one, "\n".join(lines)), Run(two, done.stdout, done.stderr)


def test_processes_end_quietly_where_the_first_one_cannot_load(runs):
    _, two = runs
    assert two.said.count(f"expected a folder of images, got {two.out}/nowhere") == 1, two.said
    assert "closed by peer" not in two.said
    assert re.findall(r"exitcode +: (\d+)", two.said)[0] == "2"


def test_two_processes_train_as_one_does(runs):
    (expected, one), (got, two) = (checkpoint.load(run.out / checkpoint.LAST) for run in runs)
    assert expected.keys() == got.keys()
    for name in expected:
        torch.testing.assert_close(
            got[name], expected[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert two["progress"]["best"] == pytest.approx(one["progress"]["best"], rel=1e-11)


def test_there_is_one_log(runs):
    logs = [journal.read(run.out) for run in runs]
    for one, two in zip(*logs):
        assert two["score"] == pytest.approx(one["score"], rel=1e-9)
    for log in logs:
        events = [("train", 9), ("validation", 9), ("train", 12), ("validation", 12), ("test", 12)]
        assert [(entry["event"], entry["step"]) for entry in log] == events
    one, two = (run.printed for run in runs)
    assert two.count("test: ") == 1 and "2 processes" in two
    assert "torchrun --nproc-per-node 2 -m pixelrnn_ext train" in two
    assert re.findall("test: .*", two) == re.findall("test: .*", one)


def test_lstm2d_with_sizes(runs):
    """Every process learns what one alone learns from all images."""
    _, two = runs
    assert "Grad strides do not match" not in two.said  # DistributedDataParallel would copy every gradient
    for rank in range(2):
        got = torch.load(two.out / f"lstm2d-{rank}.pt")
        torch.testing.assert_close(got, two_processes.train_lstm2d(ALONE), rtol=1e-9, atol=1e-9)
