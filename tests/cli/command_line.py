"""The command line, called as the console script calls it."""

from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


def pixelrnn(*arguments):
    """Runs a command that must succeed."""
    assert cli.main(list(map(str, arguments))) == 0


def train(out, *more):
    """92 steps, two of them in the second epoch, at 90 an epoch."""
    return cli.main(["train", "--data", "digits", *MODEL, "--steps", "92", "--samples", "0", "--out", str(out), *more])


def refused(capsys, *arguments):
    """The one sentence of a command that must fail."""
    status = cli.main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert status == 2 and "Traceback" not in printed.err
    (line,) = printed.err.splitlines()
    assert line.startswith("pixelrnn: ")
    return line.removeprefix("pixelrnn: ")


def change_facts(source, path, change):
    """Writes the checkpoint ``source`` to ``path`` with the facts that ``change`` made of it. Returns ``path``."""
    tensors, facts = checkpoint.load(source)
    change(facts)
    checkpoint.save(path, tensors, facts)
    return path
