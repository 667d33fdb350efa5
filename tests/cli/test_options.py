"""Options that contradict each other or cannot work: one sentence and status 2, before any data set is loaded."""

import pytest
import torch

from pixelrnn_ext import cli, models
from pixelrnn_ext.cli import parser
from pixelrnn_ext.operators import library
from pixelrnn_ext.training import builder, checkpoint, data
from pixelrnn_ext.training.settings import Settings

MODEL = ["--model", "diagonal", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "8"]


@pytest.fixture
def refused(capsys, monkeypatch):
    """The sentence of a command that must fail before it loads anything."""

    def run(*arguments):
        monkeypatch.setattr(data, "load", None)
        monkeypatch.setattr("pixelrnn_ext.training.stored_data.load_again", None)
        assert cli.main([str(argument) for argument in arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("pixelrnn: ")

    return run


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
        ("--model row --clip inf", "expected clip >= 0 and finite, got inf"),
        ("--model row --clip -1", "expected clip >= 0 and finite, got -1.0"),
        ("--model row --learning-rate inf", "expected learning_rate > 0 and finite, got inf"),
        ("--model row --learning-rate nan", "expected learning_rate > 0 and finite, got nan"),
        ("--model row --learning-rate 0", "expected learning_rate > 0 and finite, got 0.0"),
        ("--model row --weight-decay nan", "expected weight_decay >= 0 and finite, got nan"),
        ("--model row --ema nan", "expected ema in [0, 1), got nan"),
        ("--model row --steps 5 --warmup 6", "expected a warmup within the 5 steps of the training, got 6"),
    ],
)
def test_options_that_cannot_work(refused, tmp_path, options, sentence):
    assert refused("train", "--data", "digits", "--out", tmp_path / "new", *options.split()) == sentence
    assert not (tmp_path / "new").exists()


def test_an_unknown_model_is_refused_before_the_data(refused, tmp_path):
    sentence = refused("train", "--data", "digits", "--out", tmp_path / "new", "--model", "resnet")
    assert sentence.startswith("expected a model of row, ") and sentence.endswith("imagenet64-row, got 'resnet'")


@pytest.mark.parametrize("name", [*builder.KINDS, *models.CONFIGURATIONS])
def test_options_that_a_model_takes(name):
    builder.check_options(name, dict(hidden_channels=4, num_layers=1, head_channels=4, residual=True, backend="auto"))
    if name == "multiscale":
        builder.check_options(name, dict(layer="row", kernel_size=5, factor=3, upsampling_channels=4))


def test_a_warmup_beyond_the_epochs(tmp_path, capsys):
    """Their steps are known when the data are."""
    options = ["--data", "digits", *MODEL, "--epochs", "1", "--warmup", "91", "--out", str(tmp_path / "new")]
    assert cli.main(["train", *options]) == 2
    assert capsys.readouterr().err == "pixelrnn: expected a warmup within the 90 steps of the training, got 91\n"
    assert Settings(steps=5, warmup=5).warmup == 5


def test_a_width_is_chosen_in_one_way(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--out", str(tmp_path), "--parameters", "1000", "--hidden-channels", "3"])
    assert (
        ended.value.code == 2 and "--hidden-channels: not allowed with argument --parameters" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--hidden-channels 4", "expected --hidden-channels 3, with which the training began, got 4"),
        ("--model row", "expected --model diagonal, with which the training began, got row"),
        ("--factor 2", "expected no --factor, without which the training began: --resume goes on with its options"),
        ("--no-skip", "expected no --no-skip, without which the training began: --resume goes on with its options"),
        ("--skip", "expected no --skip, without which the training began: --resume goes on with its options"),
        (
            "--conditional",
            "expected no --conditional, without which the training began: --resume goes on with its options",
        ),
        ("--clip nan", "expected --clip 1.0, with which the training began, got nan"),
    ],
)
def test_a_resumed_training_has_its_options(refused, tmp_path, monkeypatch, options, sentence):
    parsed = vars(parser.make("pixelrnn").parse_args(["train", "--data", "digits", *MODEL, "--out", str(tmp_path)]))
    stored = {name: value for name, value in parsed.items() if name != "run"}
    monkeypatch.setattr(checkpoint, "load", lambda path: ({}, {"arguments": stored}))
    (tmp_path / checkpoint.LAST).touch()
    assert refused("train", "--resume", "--out", tmp_path, *options.split()) == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("", "'NoneType' object is not callable"),  # it goes on to the data
        ("--shift 1", "expected --shift 0, with which the training began, got 1"),
        (
            "--weight-decay 0.1",
            "expected no --weight-decay, without which the training began: --resume goes on with its options",
        ),
    ],
)
def test_a_checkpoint_older_than_an_option_is_resumed_without_it(refused, tmp_path, monkeypatch, options, sentence):
    parsed = vars(parser.make("pixelrnn").parse_args(["train", "--data", "digits", *MODEL, "--out", str(tmp_path)]))
    stored = {name: value for name, value in parsed.items() if name not in ("run", "shift", "weight_decay")}
    monkeypatch.setattr(checkpoint, "load", lambda path: ({}, {"arguments": stored}))
    (tmp_path / checkpoint.LAST).touch()
    assert refused("train", "--resume", "--out", tmp_path, *options.split()) == sentence


def test_a_hidden_installation_does_not_train_slowly_in_silence(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "hidden_installation", lambda: tmp_path)
    monkeypatch.setattr(library, "_why_no_native", "the source folder hides it")
    arguments = ["train", "--data", "digits", *MODEL, "--out", tmp_path / "new"]
    assert refused(*arguments) == "the source folder hides it; or train slowly, with --backend reference"
    # It goes on to the data.
    assert refused(*arguments, "--backend", "reference") == "'NoneType' object is not callable"


def test_a_training_takes_the_kernels_of_cudnn_that_repeat_their_bits(tmp_path, capsys, monkeypatch):
    def training(*_):
        raise ValueError(f"deterministic: {torch.backends.cudnn.deterministic}")

    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr("pixelrnn_ext.cli.train.Training", training)
    assert cli.main(["train", "--data", "digits", *MODEL, "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == "pixelrnn: deterministic: True\n"
