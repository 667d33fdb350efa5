"""Options that contradict each other or cannot work: one sentence and status 2, before any data set is loaded."""

import pytest

from pixelrnn_ext import models
from pixelrnn_ext.cli import parser
from pixelrnn_ext.operators import library
from pixelrnn_ext.training import builder, checkpoint, data

from .command_line import MODEL, refused


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch):
    """A command must fail before it loads a data set."""
    monkeypatch.setattr(data, "load", None)
    monkeypatch.setattr("pixelrnn_ext.training.stored_data.load_again", None)


LOADS = "'NoneType' object is not callable"  # the command goes on to the data


def not_taken(option, name):
    return f"expected no {option} for {name}, which does not take it"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--model row --layer diagonal", not_taken("layer", "row")),
        ("--model diagonal --layer diagonal", not_taken("layer", "diagonal")),
        ("--model cifar10-row --layer row", not_taken("layer", "cifar10-row")),
        ("--model row --factor 2", not_taken("factor", "row")),
        ("--model mnist-diagonal --upsampling-channels 8", not_taken("upsampling-channels", "mnist-diagonal")),
        ("--model pixelcnn --initial-state zero", not_taken("initial-state", "pixelcnn")),
        ("--model diagonal --kernel-size 5", not_taken("kernel-size", "diagonal")),
        ("--model multiscale --kernel-size 5", not_taken("kernel-size", "multiscale")),
        ("--model row --clip nan", "expected clip >= 0 and finite, got nan"),
        ("--model row --learning-rate 0", "expected learning_rate > 0 and finite, got 0.0"),
        ("--model row --steps 5 --warmup 6", "expected a warmup within the 5 steps of the training, got 6"),
        ("--model row --steps 5 --warmup 5", LOADS),
        ("--model resnet", f"expected a model of {', '.join([*builder.KINDS, *models.CONFIGURATIONS])}, got 'resnet'"),
    ],
)
def test_options_that_cannot_work(tmp_path, capsys, options, sentence):
    assert refused(capsys, "train", "--data", "digits", "--out", tmp_path / "new", *options.split()) == sentence
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [*builder.KINDS, *models.CONFIGURATIONS])
def test_options_that_a_model_takes(name):
    builder.check_options(name, dict(hidden_channels=4, num_layers=1, head_channels=4, residual=True, backend="auto"))
    if name == "multiscale":
        builder.check_options(name, dict(layer="row", kernel_size=5, factor=3, upsampling_channels=4))


BEGAN_WITHOUT = "without which the training began: --resume goes on with its options"
OLDER = ("shift", "weight_decay")  # options that the checkpoint of an older version does not name


@pytest.mark.parametrize(
    ("missing", "options", "sentence"),
    [
        ((), "--hidden-channels 4", "expected --hidden-channels 3, with which the training began, got 4"),
        ((), "--model row", "expected --model diagonal, with which the training began, got row"),
        ((), "--clip nan", "expected --clip 1.0, with which the training began, got nan"),
        ((), "--factor 2", f"expected no --factor, {BEGAN_WITHOUT}"),
        ((), "--no-skip", f"expected no --no-skip, {BEGAN_WITHOUT}"),
        ((), "--skip", f"expected no --skip, {BEGAN_WITHOUT}"),
        ((), "--conditional", f"expected no --conditional, {BEGAN_WITHOUT}"),
        (OLDER, "", LOADS),
        (OLDER, "--shift 1", "expected --shift 0, with which the training began, got 1"),
        (OLDER, "--weight-decay 0.1", f"expected no --weight-decay, {BEGAN_WITHOUT}"),
    ],
)
def test_a_resumed_training_has_its_options(tmp_path, capsys, monkeypatch, missing, options, sentence):
    parsed = vars(parser.make("pixelrnn").parse_args(["train", "--data", "digits", *MODEL, "--out", str(tmp_path)]))
    stored = {name: value for name, value in parsed.items() if name not in ("run", *missing)}
    monkeypatch.setattr(checkpoint, "load", lambda path: ({}, {"arguments": stored}))
    (tmp_path / checkpoint.LAST).touch()
    assert refused(capsys, "train", "--resume", "--out", tmp_path, *options.split()) == sentence


def test_a_hidden_installation_does_not_train_slowly_in_silence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(library, "hidden_installation", lambda: tmp_path)
    monkeypatch.setattr(library, "_why_no_native", "the source folder hides it")
    arguments = ["train", "--data", "digits", *MODEL, "--out", tmp_path / "new"]
    assert refused(capsys, *arguments) == "the source folder hides it; or train slowly, with --backend reference"
    assert refused(capsys, *arguments, "--backend", "reference") == LOADS
