import re
import sys

import pytest
from PIL import Image

from .command_line import error_of, exit_output, pixelrnn

MODULE = """
import torch

leaky = torch.nn.Conv2d(1, 4, 3, padding=1)

def causal(x):
    return x.cumsum(3)

def mixed(x):
    import late_{}
    return x.sum(1, keepdim=True).expand(-1, 2, -1, -1)

class Model(torch.nn.Module):
    pass

def embedded(x):
    return torch.nn.functional.one_hot(x[:, 0], 4).permute(0, 3, 1, 2).roll(1, 3)
"""
SHAPE = ("--shape", "1x3x4", "--layout", "features")


@pytest.fixture
def homework(tmp_path, monkeypatch):
    """The name of a module in the current folder, which no other test has imported."""
    name = re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{name}.py").write_text(MODULE.replace("{}", name))
    (tmp_path / f"late_{name}.py").touch()
    (tmp_path / f"broken_{name}.py").write_text("raise SystemExit('enough')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def test_a_leak_is_status_1_and_drawn(homework, capsys):
    pixelrnn("check", f"{homework}:leaky", *SHAPE, "--out", "leak.png", status=1)
    first = r"29 leaks, by up to \S+ in any channel; the first: output \(0, 0, 0\) changes with input \(0, 0, 1\), "
    assert re.match(first + "which comes later\n", capsys.readouterr().out)
    with Image.open("leak.png") as picture:
        assert picture.size == (64, 48) and (214, 39, 40) in {color for _, color in picture.getcolors()}


def test_a_picture_on_the_standard_output_has_no_text(homework, capfdbinary):
    pixelrnn("check", f"{homework}:leaky", *SHAPE, "--out", "-", status=1)
    printed = capfdbinary.readouterr()
    assert printed.out.startswith(b"\x89PNG") and printed.out[-8:-4] == b"IEND" and b"29 leaks" in printed.err


def test_no_leak_is_status_0(homework, capsys):
    pixelrnn("check", f"{homework}:causal", *SHAPE)
    assert capsys.readouterr().out.startswith("0 leaks\n")


def test_the_options_reach_the_check(homework, capsys):
    pixelrnn("check", f"{homework}:causal", *SHAPE, "--mask", "A", status=1)
    assert "its own value" in capsys.readouterr().out
    pixelrnn("check", f"{homework}:mixed", "--shape", "2x3x4", "--layout", "features", status=1)
    pixelrnn("check", f"{homework}:mixed", "--shape", "2x3x4", "--layout", "features", "--image-channels", "1")
    capsys.readouterr()
    pixelrnn("check", f"{homework}:embedded", *SHAPE, "--dtype", "int64", "--levels", "4", status=1)
    assert "changes with input (0, 0, 3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("{}:other", "expected {} to have other, got a module without it"),
        ("{}:torch", "expected f to be a module or a function, got module"),
        ("no_{}:f", "no_{} cannot be imported: ModuleNotFoundError: No module named 'no_{}'"),
        ("broken_{}:f", "broken_{} cannot be imported: SystemExit: enough"),
        ("{}:Model", "expected Model to be an object or a function, got a class: name an object of the class"),
    ],
    ids=["no such name", "no function", "no such module", "broken module", "class"],
)
def test_what_is_no_function(homework, capsys, function, sentence):
    assert error_of(capsys, "check", function.format(homework), *SHAPE) == sentence.replace("{}", homework)


def test_a_name_without_a_colon(capsys):
    expected = "argument MODULE:FUNCTION: expected MODULE:FUNCTION, got 'homework'"
    assert expected in exit_output(capsys, 2, "check", "homework", *SHAPE).err
