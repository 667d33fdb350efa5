"""Runs the Python code of the documents, and parses the options of their commands."""

import argparse
import importlib
import re
import runpy
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

import harness.alone
from helpers import child
from helpers.root import ROOT
from pixelrnn_ext import cli, models
from pixelrnn_ext.cli import inputs
from pixelrnn_ext.cli.train import MODEL_OPTIONS
from pixelrnn_ext.training import builder, data, drawing, folder

TUTORIAL = ROOT / "docs/tutorial.md"
CARD = ROOT / "pixelrnn_ext/pretrained/README.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", CARD, *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# {module that documents run by `python -m`: the module with its function main()}
MAINS = {
    "pixelrnn_ext": "pixelrnn_ext.cli",
    "pixelrnn_ext.training.export": "pixelrnn_ext.training.export",
}
# {options of the tutorial, which takes ten minutes: faster options for the test}
SHORTER = {"--epochs 12": "--steps 2", "--count 64": "--count 2"}
VARIABLES = re.compile(r"\$m\b|\bMODEL\b")


def blocks(document):
    return BLOCK.findall(document.read_text())


def python(document):
    return [text for language, text in blocks(document) if language == "python"]


def commands(text):
    """Yields each command of a shell example as a list of words. MODEL becomes the name of a model."""
    for line in VARIABLES.sub("row", text.replace("\\\n", "")).splitlines():
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            if words and words[0] not in ("for", "done"):
                yield words


COMMANDS = [
    pytest.param(words, id=f"{document.stem}: {shlex.join(words)}"[:100])
    for document in DOCUMENTS
    for language, text in blocks(document)
    if language == ""
    for words in commands(text)
]


def run(document, text, names):
    exec(compile(text, str(document), "exec"), names)


SLOW = {"derivatives.md"}  # documents whose code takes over a second
PYTHON = [
    pytest.param(
        document, id=document.relative_to(ROOT).as_posix(), marks=pytest.mark.sweep if document.name in SLOW else ()
    )
    for document in DOCUMENTS
    if python(document) and document != TUTORIAL
]


@pytest.mark.parametrize("document", PYTHON)
def test_python_runs(document):
    names = {"__name__": "snippet"}
    for text in python(document):
        run(document, text, names)


class Parsed(BaseException):
    """Raised with the parsed options instead of running a command."""


@pytest.fixture
def parse_only(monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def stop(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    monkeypatch.setattr(harness.alone, "configure_like_command", lambda: None)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


def check_names(options, monkeypatch):
    """Checks that a command's model, data set and pretrained model exist."""
    values = vars(options)
    if values.get("model"):
        builder.check_options(options.model, inputs.select_options(values, MODEL_OPTIONS))
    if values.get("data"):
        for name, source in data.DATA_SETS.items():
            monkeypatch.setitem(data.DATA_SETS, name, replace(source, load=lambda path, **options: None))
        data.load(options.data, **inputs.data_options(options))
    checkpoint = values.get("checkpoint")
    assert checkpoint is None or "/" in checkpoint or checkpoint in models.PRETRAINED
    hide = values.get("hide")
    assert hide is None or hide in drawing.HIDDEN_AREAS or Path(hide).suffix in folder.SUFFIXES


def check_pip(words):
    named = {name for names in re.findall(r"\[([\w,]+)\]", " ".join(words)) for name in names.split(",")}
    named |= {words[i + 1] for i, word in enumerate(words) if word == "--group"}
    assert named <= set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))


def call(words, monkeypatch):
    if words[0] == "pixelrnn":
        cli.main(words[1:])
    elif words[1] == "-m":
        importlib.import_module(MAINS[words[2]]).main(words[3:])
    else:
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_known(words, request, monkeypatch):
    while "=" in words[0]:
        words = words[1:]
    if words[0] == "torchrun":
        launch = get_args_parser().parse_args(words[1:])
        assert launch.module
        words = ["python", "-m", launch.training_script, *launch.training_script_args]
    if words[:2] == ["pip", "install"]:
        check_pip(words)
    elif words[0] == "pytest":
        request.config._parser.parse(words[1:])
    elif words[0] in ("pixelrnn", "python"):
        request.getfixturevalue("parse_only")
        with pytest.raises(Parsed) as parsed:
            call(words, monkeypatch)
        (options,) = parsed.value.args
        if hasattr(options, "run"):
            check_names(options, monkeypatch)
    else:
        # This test does not check the targets of `make`, because test_documents.py checks them.
        assert words[0] in ("make", "python3", ".")


@pytest.mark.sweep
def test_the_tutorial(tmp_path, monkeypatch):
    pytest.importorskip("mlxtend", reason="needs the train extra")
    monkeypatch.chdir(tmp_path)
    names, unused = {"__name__": "snippet"}, set(SHORTER)
    for language, text in blocks(TUTORIAL):
        if language == "python":
            run(TUTORIAL, text, names)
            continue
        shorter = text
        for long in [long for long in unused if long in text]:
            unused.remove(long)
            shorter = shorter.replace(long, SHORTER[long])
        for words in commands(shorter):
            if words[0] == "pixelrnn":
                done = child.python("-m", "pixelrnn_ext", *words[1:])
                assert done.returncode == 0, done.stderr
    assert not unused
    assert {path.name for path in tmp_path.glob("*.png")} == {"digits.png", "samples.png", "completed.png"}
