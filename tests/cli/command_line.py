"""Calls the command line as the console script does."""

import pytest

from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


def split_command(command, *more):
    """Splits ``command`` into words, and appends ``more`` as strings."""
    return [*command.split(), *map(str, more)]


def pixelrnn(*command):
    """Runs a command and asserts that it succeeds."""
    assert cli.main(split_command(*command)) == 0


def train(out, *more):
    """Trains for 92 steps, two of them in the second epoch. Returns the exit status."""
    return cli.main(["train", "--data", "digits", *MODEL, "--steps", "92", "--samples", "0", "--out", str(out), *more])


def error_of(capsys, *command):
    """Runs a command, asserts that it fails, and returns its error, which is one sentence."""
    status = cli.main(split_command(*command))
    printed = capsys.readouterr()
    assert status == 2 and "Traceback" not in printed.err
    (line,) = printed.err.splitlines()
    assert line.startswith("pixelrnn: ")
    return line.removeprefix("pixelrnn: ")


def exit_output(capsys, status, *arguments, prog="pixelrnn"):
    """Asserts that the option parser ends a command with exit status ``status``. Returns the output."""
    with pytest.raises(SystemExit) as raised:
        cli.main(list(arguments), prog)
    assert raised.value.code == status
    return capsys.readouterr()


def change_facts(source, path, change):
    """Writes the checkpoint ``source`` to ``path`` with facts changed by ``change``. Returns ``path``."""
    tensors, facts = checkpoint.load(source)
    change(facts)
    checkpoint.save(path, tensors, facts)
    return path
