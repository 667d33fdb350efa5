"""Two processes that torchrun started train as one process does on the joint batch."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import child
from helpers.tiny import ALONE
from pixelrnn_ext.training import checkpoint

from . import ddp_lstm2d

HERE = Path(__file__).parent
# Everything that is random, and 176 images to score in batches of 10: the last is shared unevenly.
OPTIONS = "--data digits --model row --hidden-channels 3 --num-layers 1 --head-channels 8 --conditional --ema 0.9"
OPTIONS += " --flip --shift 1 --optimiser adamw --weight-decay 0.1 --schedule cosine --batch-size 10 --steps 12"
OPTIONS += " --samples 0 --device cpu"


def torchrun(processes, folder, script, *arguments):
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    )
    return subprocess.run(
        [sys.executable, *launcher, str(HERE / script), *map(str, arguments)],
        cwd=folder,
        env=child.environment(child.TESTS) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{processes: (folder, printed)}"""
    folder = tmp_path_factory.mktemp("trained")
    runs = {}
    for processes in (1, 2):
        out = folder / f"{processes}"
        done = torchrun(processes, folder, "float64_command.py", "train", *OPTIONS.split(), "--out", out)
        assert done.returncode == 0, done.stderr
        runs[processes] = out, done.stdout
    return runs


def test_two_processes_train_as_one_does(trained):
    (expected, one), (got, two) = (checkpoint.load(trained[processes][0] / checkpoint.LAST) for processes in (1, 2))
    assert expected.keys() == got.keys()
    for name in expected:
        torch.testing.assert_close(
            got[name], expected[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert two["progress"]["best"] == pytest.approx(one["progress"]["best"], rel=1e-11)


def test_there_is_one_log(trained):
    logs = [
        [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        for out, _ in (trained[1], trained[2])
    ]
    events = [[(entry["event"], entry["step"]) for entry in log] for log in logs]
    assert events[0] == events[1] == [("train", 12), ("validation", 12), ("test", 12)]
    for one, two in zip(*logs):
        assert two["score"] == pytest.approx(one["score"], rel=1e-9)
    printed = trained[2][1]
    assert (
        printed.count("test: ") == 1
        and "2 processes" in printed
        and "torchrun --nproc-per-node 2 -m pixelrnn_ext train" in printed
    )
    assert re.findall("test: .*", printed) == re.findall("test: .*", trained[1][1])


def test_lstm2d_with_sizes(tmp_path):
    """In a script of one's own: every process learns what one alone learns from all images."""
    done = torchrun(2, tmp_path, "ddp_lstm2d.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Grad strides do not match" not in done.stderr  # DistributedDataParallel would copy every gradient
    expected = ddp_lstm2d.train(ALONE)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected, rtol=1e-9, atol=1e-9)
