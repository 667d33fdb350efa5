"""Functions that call the command line `pixelrnn` in the test's own process, and read what it writes."""

import numpy
import pytest
from PIL import Image

from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


SIDE = 66  # pixels of an 8 x 8 image in a grid, with its margin of 2


def pixels_of(picture):
    with Image.open(picture) as opened:
        return numpy.array(opened.convert("RGB")).astype(int)


def split_command(command, *more):
    return [*command.split(), *map(str, more)]


def pixelrnn(*command, status=0):
    assert cli.main(split_command(*command)) == status


def train(out, *more):
    """Trains a small model for 92 steps, of which the last two are in the second epoch."""
    return cli.main(["train", "--data", "digits", *MODEL, "--steps", "92", "--samples", "0", "--out", str(out), *more])


def error_of(capsys, *command):
    """Asserts that a command fails with one line of text, and returns this line."""
    status = cli.main(split_command(*command))
    printed = capsys.readouterr()
    assert status == 2 and "Traceback" not in printed.err
    (line,) = printed.err.splitlines()
    assert line.startswith("pixelrnn: ")
    return line.removeprefix("pixelrnn: ")


def exit_output(capsys, status, *arguments, prog="pixelrnn"):
    """Asserts that a command ends while its options are parsed. Returns what it printed."""
    with pytest.raises(SystemExit) as raised:
        cli.main(list(arguments), prog)
    assert raised.value.code == status
    return capsys.readouterr()


def change_facts(source, path, change):
    """Copies a checkpoint. ``change`` edits everything in the copy except the tensors."""
    tensors, facts = checkpoint.load(source)
    change(facts)
    checkpoint.save(path, tensors, facts)
    return path
