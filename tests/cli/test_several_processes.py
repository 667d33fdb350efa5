"""Three processes share the work of a command, and write what one process writes."""

import json
import re
import shutil
import socket
import subprocess
import sys

import pytest
import torch

from helpers import child
from helpers.mnist import write_mnist
from helpers.tiny import tiny_checkpoint
from pixelrnn_ext.training import checkpoint

from . import several_processes
from .command_line import MODEL, SIDE, pixels_of

# {output, or None for standard output: command}. Most counts are no multiples of three batches.
COMMANDS = {
    "score": "evaluate {model} --json --batch-size 50",
    "draws": "evaluate binary --data mnist:. --draws 3 --classify --batch-size 7 --json",
    "few.png": "sample {model} --out few.png --count 3 --batch-size 2",
    "many.png": "sample {model} --out many.png --count 11 --batch-size 2",
    "drawing.gif": "sample {model} --out drawing.gif --count 5 --batch-size 1",
    "completed.png": "complete {model} --out completed.png --count 4 --completions 2 --batch-size 3",
    "file": "compress {model} digits:test --out file --batch-size 40 --streams 5",
    "one": "compress {model} digits:test --out one --batch-size 500 --streams 1 --no-verify",
    "images": "decompress {model} file --out images --label digits:test --batch-size 64",
}
SCORES = "score", "draws"  # printed, before all others
FAULTS = {
    "nothing.png": "full sample {model} --out nothing.png --count 11 --batch-size 2",
    # The second batch of process 2 has the images 10 and 11.
    "part.png": "interrupted sample {model} --out part.png --count 14 --batch-size 2",
    "whole.png": "waiting sample {model} --out whole.png --count 2 --batch-size 2",
    "no-images": "undecoded decompress {model} file --out no-images --label digits:test --batch-size 1",
    "no score": "idle evaluate {model} --batch-size 1000",
    "nor this": "other evaluate {model}",
}


def commands(prefix, found, model):
    return [prefix + command.format(model=model) for command in found.values()]


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """The folders in which one process and three processes ran the commands, and what the three printed.

    All processes read one checkpoint and have one thread, since the order of a sum may depend on the number of threads.
    """
    one, three = (tmp_path_factory.mktemp(name) for name in ("one", "three"))
    tiny_checkpoint(one / "binary", classes=tuple("0123456789"))
    shutil.copy(one / "binary", three / "binary")
    lines = commands("none ", COMMANDS, trained[0])
    for folder, faults in (one, []), (three, commands("", FAULTS, trained[0])):
        write_mnist(folder)
        (folder / "commands").write_text("\n".join([*lines, *faults]))
    program = several_processes.__file__, "commands"
    alone = child.python(*program, cwd=one, env=child.environment(child.TESTS) | {"OMP_NUM_THREADS": "1"})
    assert alone.returncode == 2, alone  # the last command of the program fails
    for name, line in zip(SCORES, alone.stdout.splitlines()):
        (one / name).write_text(line)
    return one, three, child.processes(3, *program, cwd=three)


def test_the_scores_are_the_same_to_the_bit(folders):
    one, _, done = folders
    for name, line in zip(SCORES, done.stdout[0].splitlines()):
        assert json.loads(line) == json.loads((one / name).read_text())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SCORES])
def test_files_are_the_same(folders, name):
    one, three, _ = folders
    if name == "images":
        files = sorted((one / name).iterdir())
        assert [file.name for file in files] == [file.name for file in sorted((three / name).iterdir())]
        assert all(file.read_bytes() == (three / name / file.name).read_bytes() for file in files)
    else:
        assert (one / name).read_bytes() == (three / name).read_bytes()


def test_one_process_prints_and_writes(folders):
    _, three, done = folders
    assert done.status == [2, 2, 2] and not any(done.stdout[1:]), done
    printed = done.stdout[0].splitlines()
    assert len(printed) == len(COMMANDS) + 1 and printed[-1] == "2 samples: whole.png", done
    said = [
        line for line in "".join(done.stderr).splitlines() if line.startswith("pixelrnn: ") or "interrupted" in line
    ]
    full, interrupted, undecoded, idle, other, nowhere = said
    assert full == "pixelrnn: process 1: the disk: No space left on device"
    assert interrupted == "interrupted; 10 finished samples are in part.png"
    assert idle == undecoded == full and not (three / "no-images").exists()
    assert other == "pixelrnn: expected the same model in all processes, got another in process 2"
    assert re.fullmatch("pixelrnn: expected a checkpoint, .*, got nowhere", nowhere)
    assert not (three / "nothing.png").exists()
    many, part = (pixels_of(three / name)[: 2 * SIDE] for name in ("many.png", "part.png"))
    assert (many == part).all()  # two rows of four images


@pytest.mark.sweep
def test_a_training_that_is_killed_and_restarted_has_the_same_bits(tmp_path):
    """torchrun restarts a process that is killed before its second checkpoint."""
    (tmp_path / "program.py").write_text(
        "import os, pathlib, signal, sys\n"
        "from pixelrnn_ext import cli\n"
        "from pixelrnn_ext.training.loop import Training\n"
        "step, killed = Training._step, pathlib.Path('killed')\n"
        "def counted(self, *args):\n"
        "    if self.progress.step == 7 and not killed.exists():\n"
        "        killed.touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self, *args)\n"
        "Training._step = counted\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    training = ["train", "--data", "digits", *MODEL, "--steps", "9", "--save-every", "3", "--samples", "0"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "1"]
    for out, launcher in (("restarted", torchrun), ("alone", [])):
        command = [sys.executable, *launcher, "program.py", *training, "--out", out, "--resume", "auto"]
        done = subprocess.run(command, cwd=tmp_path, env=child.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("from step 6" in done.stdout + done.stderr) == (out == "restarted")
    restarted, alone = (checkpoint.load(tmp_path / out / checkpoint.LAST)[0] for out in ("restarted", "alone"))
    assert restarted.keys() == alone.keys()
    assert all(torch.equal(restarted[name], alone[name]) for name in alone)


@pytest.mark.sweep
def test_two_machines_that_meet_at_an_address(trained, tmp_path):
    with socket.socket() as unused:
        unused.bind(("localhost", 0))
        port = unused.getsockname()[1]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "7"]
    launcher = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *meeting]
    command = [sys.executable, *launcher, "-m", "pixelrnn_ext", "evaluate", str(trained[0])]
    options = dict(cwd=tmp_path, env=child.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    machines = [subprocess.Popen(command, **options) for _ in range(2)]
    printed = [machine.communicate(timeout=120) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], printed
    (line,) = (out.strip() for out, _ in printed if out)
    assert line == trained[1][-1].removesuffix(", the best on validation")
