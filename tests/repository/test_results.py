"""Runs the script of docs/results.md that reproduces the paper's table, with small models and a few images."""

import re
import runpy
import subprocess

import pytest
from PIL import Image

from helpers.mnist import write_mnist
from helpers.root import ROOT
from helpers.tiny import write_cheap_curve
from pixelrnn_ext import cli

# {options of the script, which takes hours: faster options for the test}
SHORTER = {"--epochs 40": "--epochs 1 --hidden-channels 2 --num-layers 1", "--draws 20": "--draws 2"}


def test_the_table_of_mnist(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pixelrnn_ext.training.gallery.write_learning_curve", write_cheap_curve)
    write_mnist(tmp_path / "PATH")
    (script,) = re.findall(r"```\n(for m in [^`]*mnist:PATH[^`]*)```\n", (ROOT / "docs/results.md").read_text())
    for longer, shorter in SHORTER.items():
        script = script.replace(longer, shorter)
    # Bash prints the commands, so that the test runs them in its own process.
    printing = "pixelrnn() { echo $*; }; python() { echo $*; }\n"
    *commands, curves = subprocess.check_output(["bash", "-c", printing + script], text=True).splitlines()
    assert len(commands) == 12
    run = [command.split() for command in commands if "mnist-row" in command]
    for command in (*run, run[0]):
        assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.count("test: ") == printed.out.count("2 draws: mean ") == 1
    assert "from step 3" in printed.out
    out, draw = curves.split()[-1], runpy.run_path(str(ROOT / "docs/learning_curves.py"))["main"]
    draw([*map(str, (tmp_path / "runs").iterdir()), "--out", out])
    with Image.open(out) as picture:
        assert picture.width > picture.height
    with pytest.raises(SystemExit):
        draw(["PATH", "--out", out])
    assert "expected validation scores in PATH/log.jsonl, got none" in capsys.readouterr().err
