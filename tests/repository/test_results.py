"""Runs the script of docs/results.md that reproduces the paper's table, with small models and a few images."""

import re
import runpy
import subprocess

from PIL import Image

from helpers.mnist import write_mnist
from helpers.root import ROOT
from helpers.tiny import write_cheap_curve
from pixelrnn_ext import cli

# Options that come after those of the script, and replace them.
SMALLER = {"train": "--epochs 1 --hidden-channels 2 --num-layers 1", "evaluate": "--draws 2", "compress": "--no-verify"}


def test_the_table_of_mnist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
    write_mnist(tmp_path / "PATH")
    (script,) = re.findall(r"```\n(for m in [^`]*mnist:PATH[^`]*)```\n", (ROOT / "docs/results.md").read_text())
    # Bash prints the commands, so that the test runs them in its own process.
    printing = "pixelrnn() { echo $*; }; python() { echo $*; }\n"
    *commands, curves = subprocess.check_output(["bash", "-c", printing + script], text=True).splitlines()
    assert len(commands) == 12
    run = [command.split() for command in commands if re.search("mnist-(row|pixelcnn)", command)]
    for command in (*run, run[0]):
        assert cli.main([*command, *SMALLER[command[0]].split()]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("test: ") == printed.out.count("2 draws: mean ") == 2
    assert "from step 3" in printed.out
    out = curves.split()[-1]
    runpy.run_path(str(ROOT / "docs/learning_curves.py"))["main"](
        [*map(str, (tmp_path / "runs").iterdir()), "--out", out]
    )
    with Image.open(out) as picture:
        assert picture.width > picture.height
