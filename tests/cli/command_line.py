"""Calls the command line as the console script does."""

import pytest

from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


def words(command, *more):
    """Returns the arguments of a command line: the words of ``command``, and ``more`` as they are."""
    return [*command.split(), *map(str, more)]


def pixelrnn(*command):
    """Runs a command that must succeed."""
    assert cli.main(words(*command)) == 0


def train(out, *more):
    """Trains 92 steps, two of them in the second epoch."""
    return cli.main(["train", "--data", "digits", *MODEL, "--steps", "92", "--samples", "0", "--out", str(out), *more])


def refused(capsys, *command):
    """Returns the one sentence of a command that must fail."""
    status = cli.main(words(*command))
    printed = capsys.readouterr()
    assert status == 2 and "Traceback" not in printed.err
    (line,) = printed.err.splitlines()
    assert line.startswith("pixelrnn: ")
    return line.removeprefix("pixelrnn: ")


def ended(capsys, status, *arguments, prog="pixelrnn"):
    """Returns what a command prints when the parser of its options ends it."""
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
