"""Two processes that torchrun started train as one process does on the joint batch."""

import json
import re
import subprocess
import sys

import pytest
import torch

from helpers import child
from helpers.tiny import ALONE
from pixelrnn_ext.training import checkpoint

from . import two_processes

# Everything that is random, and 176 images to score in batches of 10: the last is shared unevenly.
OPTIONS = "--data digits --model row --hidden-channels 3 --num-layers 1 --head-channels 8 --conditional --ema 0.9"
OPTIONS += " --flip --shift 1 --optimiser adamw --weight-decay 0.1 --schedule cosine --batch-size 10 --steps 12"
OPTIONS += " --samples 0 --device cpu"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{processes: (folder, printed)} of this process, and of two processes, which have trained an LSTM2d before."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        assert two_processes.command_in_float64(["train", *OPTIONS.split(), "--out", str(one)]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", two_processes.__file__]
    done = subprocess.run(
        [sys.executable, *launcher, two, "train", *OPTIONS.split(), "--out", two],
        cwd=two,
        env=child.environment(child.TESTS) | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Grad strides do not match" not in done.stderr  # DistributedDataParallel would copy every gradient
    return {1: (one, "\n".join(lines)), 2: (two, done.stdout)}


def test_two_processes_train_as_one_does(trained):
    (expected, one), (got, two) = (checkpoint.load(out / checkpoint.LAST) for out, _ in trained.values())
    assert expected.keys() == got.keys()
    for name in expected:
        torch.testing.assert_close(
            got[name], expected[name], rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert two["progress"]["best"] == pytest.approx(one["progress"]["best"], rel=1e-11)


def test_there_is_one_log(trained):
    logs = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out, _ in trained.values()]
    for one, two in zip(*logs):
        assert two["score"] == pytest.approx(one["score"], rel=1e-9)
    for log in logs:
        events = [(entry["event"], entry["step"]) for entry in log]
        assert events == [("train", 12), ("validation", 12), ("test", 12)]
    printed = trained[2][1]
    assert printed.count("test: ") == 1 and "2 processes" in printed
    assert "torchrun --nproc-per-node 2 -m pixelrnn_ext train" in printed
    assert re.findall("test: .*", printed) == re.findall("test: .*", trained[1][1])


def test_lstm2d_with_sizes(trained):
    """In a script of one's own: every process learns what one alone learns from all images."""
    expected, (folder, _) = two_processes.train_lstm2d(ALONE), trained[2]
    for rank in range(2):
        got = torch.load(folder / f"lstm2d-{rank}.pt")
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
