"""What the command says of itself: examples, completion."""

import shlex
import sys

import pytest

from pixelrnn_ext import cli
from pixelrnn_ext.cli import parser

EXAMPLES = [(name, example) for name, module in parser.COMMANDS.items() for example in module.EXAMPLES]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name} {example}" for name, example in EXAMPLES])
def test_an_example_is_understood_and_shown(name, example, capsys):
    options = parser.make("pixelrnn").parse_args([name, *shlex.split(example)])
    assert options.run is parser.COMMANDS[name].run
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"  pixelrnn {name} {example}".rstrip() in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_completes_commands_and_options(shell, capsys):
    pytest.importorskip("shtab", reason="the completion extra brings it")
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert ended.value.code == 0 and all(name in script for name in parser.COMMANDS)
    assert "learning-rate" in script


def test_completion_needs_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["--print-completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err
