import shlex
import shutil
import subprocess

import pytest
import torch

from pixelrnn_ext import cli
from pixelrnn_ext.cli import completion, parser
from pixelrnn_ext.training import data

from .command_line import exit_output

EXAMPLES = [(name, example) for name, module in parser.COMMANDS.items() for example in module.EXAMPLES]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name} {example}" for name, example in EXAMPLES])
def test_an_example_is_understood_and_shown(name, example, capsys):
    options = parser.make("pixelrnn").parse_args([name, *shlex.split(example)])
    assert options.run is parser.COMMANDS[name].run
    assert f"  pixelrnn {name} {example}".rstrip() in exit_output(capsys, 0, name, "--help").out.splitlines()


@pytest.mark.parametrize("name", parser.COMMANDS)
def test_a_command_takes_a_number_of_threads(name, monkeypatch):
    module, before, found = parser.COMMANDS[name], torch.get_num_threads(), []
    monkeypatch.setattr(module, "run", lambda *_: found.append(torch.get_num_threads()) or 0)
    monkeypatch.setattr("pixelrnn_ext.cli.outputs.check", lambda options: None)
    assert cli.main([name, *shlex.split(module.EXAMPLES[0]), "--threads", str(before + 1)]) == 0
    assert found == [before + 1] and torch.get_num_threads() == before


def test_the_help_of_all_commands_begins_with_examples(capsys):
    *_, shown = exit_output(capsys, 0, "--help").out.partition("examples:\n")
    examples = [line.split(maxsplit=2) for line in shown.splitlines()]
    assert [name for _, name, _ in examples] == list(parser.FIRST)
    assert all(prog == "pixelrnn" and (name, example) in EXAMPLES for prog, name, example in examples)


def test_the_help_of_train_lists_the_choices_of_compile(capsys):
    shown = " ".join(exit_output(capsys, 0, "train", "--help").out.split())
    assert "--compile {on,off} torch.compile of the loss (off)" in shown


def test_the_help_of_train_names_the_data_sets_of_an_option(capsys, monkeypatch):
    """A new row of DATA_SETS, and nothing else, changes the help."""
    monkeypatch.setitem(data.DATA_SETS, "letters", data.Source(lambda path: None, options=("binarisation",)))
    shown = " ".join(exit_output(capsys, 0, "train", "--help").out.split())
    assert "mnist5k, mnist, letters: once (default), or for every batch" in shown
    assert "imagenet32, imagenet64, hf, folder: where large data sets are kept" in shown


def script(shell, capsys, prog="pixelrnn"):
    pytest.importorskip("shtab", reason="the completion extra brings it")
    return exit_output(capsys, 0, "--print-completion", shell, prog=prog).out


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_completes_commands_and_options(shell, capsys):
    printed = script(shell, capsys)
    assert all(name in printed for name in [*parser.COMMANDS, "learning-rate", "lower-half"])
    assert script(shell, capsys, "python -m pixelrnn_ext") == printed


COMPLETE = """
{script}
cd {folder}
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_pixelrnn
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("pixelrnn ev", "evaluate"),
        ("pixelrnn train --optimiser ada", "adamw"),
        ("pixelrnn evaluate ru", "run.safetensors"),
        ("pixelrnn complete --hide lo", "lower-half"),
        ("pixelrnn complete --hide ru", "run.safetensors"),
    ],
)
def test_bash_completes(words, completed, tmp_path, capsys):
    (tmp_path / "run.safetensors").touch()
    code = COMPLETE.format(script=script("bash", capsys), folder=tmp_path, words=words, last=words.count(" "))
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert completed in done.stdout.split(), done
