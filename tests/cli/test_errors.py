"""A command that fails prints one sentence, if possible before it loads a data set."""

import re
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelrnn_ext import cli, models
from pixelrnn_ext._sentences import reason
from pixelrnn_ext.cli import parser
from pixelrnn_ext.operators import library
from pixelrnn_ext.training import builder, checkpoint, data

from .command_line import MODEL, change_facts, error_of, exit_output


@pytest.fixture
def paths(trained, tmp_path):
    """{name: path} of a training, a missing file, a text file, an empty folder, and a mask of a wrong size."""
    names = {"new": "new", "file": "text.safetensors", "empty": "empty", "mask": "mask.png"}
    paths = {name: tmp_path / path for name, path in names.items()} | {"trained": trained[0]}
    paths["file"].write_text("a text, and no checkpoint")
    paths["empty"].mkdir()
    Image.new("L", (8, 9)).save(paths["mask"])
    return paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --data digits --out {new}", "--data and --model"),
        ("train --data digits --model mnist-diagonal --out {new}", "images with 1 channels and 2 levels, .* 17 of"),
        ("train --data photos --model row --conditional --out {new}", "a data set with labels for a conditional"),
        ("train --data digits --model row --batch-size 9999 --out {new}", "a batch size from 1 to the 1445"),
        ("train --data digits --model row --device cuda:77 --out {new}", "a device of this machine, got 'cuda:77'"),
        ("train --data digits --model row --backend resident --out {new}", "^.*resident"),
        (f"train --data digits {' '.join(MODEL)} --epochs 1 --warmup 91 --out {{new}}", "a warmup within the 90 steps"),
        ("train --data digits --model row --out {file}/new", "--out to be a folder, got {file}"),
        ("train --data digits --model row --out {file}", "--out to be a folder, got {file}"),
        ("train --resume --out {new}", "a training to go on with in --out, got no checkpoint in {new}"),
        ("info {empty}", "{empty} to be the folder of a training, got one without best.safetensors$"),
        ("evaluate {new}", "a checkpoint, .* of a training, or a pretrained model of mnist.*, got {new}$"),
        ("evaluate {trained} --data photos", "images with 1 channels and 17 levels, .* got 3 and 256 of photos"),
        ("evaluate /dev/null", "^/dev/null cannot be read: "),
        ("sample {trained} --out {new} --size 200000x200000", "at most 1073741824 pixels, got one of 800010x800010"),
        ("sample {trained} --out {new}/x.png", "--out to name a file in a folder that exists, got {new}/x.png"),
        ("sample {new} --out {new}.bmp", "a picture's name to end in .png, .*, .gif, got {new}.bmp"),
        ("sample {new} --animate --out {new}.png", "an animation's name to end in .gif, got {new}.png"),
        ("sample {trained} --out {new}.webp --count 300 --columns 1", "sides up to 16383, as WEBP .* 19802x68"),
        ("sample {trained} --out {new} --label 11", "a class of 0, .*, 9, got '11'"),
        ("sample {trained} --out {new} --temperature -1", "temperature"),
        ("complete {new} --out {new}.png.bak", "a picture's name to end in .*, got {new}.png.bak"),
        ("complete {trained} --out {new}.webp --count 99 --completions 300", "a picture of sides up to 16383"),
        ("complete {trained} --out {new} --hide {mask}", "a mask of 8x8 pixels, .* got 9x8 in {mask}"),
        ("complete {trained} --out {new} --hide {file}", "^{file} cannot be read as an image"),
        (
            "complete {trained} --out {new} --hide {new}.png",
            "--hide to be lower-half, left-half, box or an image file, got {new}",
        ),
    ],
)
def test_bad_input_is_one_sentence(paths, capsys, arguments, message):
    sentence = error_of(capsys, arguments.format(**paths))
    assert re.search(message.format(**paths), sentence), sentence
    assert sentence.startswith("expected ") or message.startswith("^")
    assert not paths["new"].exists()


EMPTY_SPLIT = {
    "train --data digits --model row --out {new}": data.SPLITS,
    "evaluate {trained} --split train": ["train"],
    "complete {trained} --out {new} --split validation": ["validation"],
    "compress {trained} digits:test --label 3 --out {new}": ["test"],
}


@pytest.mark.parametrize("command", EMPTY_SPLIT)
def test_an_empty_split_is_one_sentence(paths, capsys, monkeypatch, command):
    digits, splits = data.load("digits"), EMPTY_SPLIT[command]
    empty = data.Split(digits.splits["test"].images[:0], digits.splits["test"].labels[:0])
    for split in splits:
        changed = replace(digits, splits=digits.splits | {split: empty})
        monkeypatch.setattr(data, "load", lambda *_, changed=changed, **__: changed)
        expected = f"expected images for {', '.join(splits)}, got {changed.counts} of {digits.description}"
        assert error_of(capsys, command.format(**paths)) == expected


INTEGER = "expected an integer >= {} of 64 bits, got '{}'"
EMPTY = "expected a path, got an empty one"
NO_FOLDER = "expected a folder, got -, which is standard output: ./- is a folder of this name"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nonsense", "argument COMMAND: invalid choice: 'nonsense'"),
        ("train", "the following arguments are required: --out"),
        ("train --out x --steps 0", INTEGER.format(1, 0)),
        ("train --out x --seed 99999999999999999999999", INTEGER.format(0, 99999999999999999999999)),
        ("train --out x --steps 2 --epochs 2", "--epochs: not allowed with argument --steps"),
        ("train --out x --parameters 9 --hidden-channels 3", "--hidden-channels: not allowed with argument"),
        ("train --out x --resume --overwrite", "--overwrite: not allowed with argument --resume"),
        ("sample x --out y --size 0x4", "expected a size such as 32 or 24x32 (height x width), got '0x4'"),
        ("train --out x --num-layers 100000000", "expected an integer from 1 to 10000, got '100000000'"),
        ("train --out x --hidden-channels 100000000", "expected an integer from 1 to 65536, got '100000000'"),
        ("check f:f --layout flat --shape 1x99999x99999", "at most 4194304 values, got '1x99999x99999'"),
        ("evaluate x --device gpu", "expected a device auto, cpu, cuda or cuda:NUMBER, got 'gpu'"),
        ("train --out -", NO_FOLDER),
        ("decompress x y --out -", NO_FOLDER),
        ("train --out ''", EMPTY),
        ("sample x --out ''", EMPTY),
        ("compress x '' --out y", f"argument IMAGES: {EMPTY}"),
    ],
)
def test_wrong_options_say_the_usage(arguments, message, capsys):
    said = exit_output(capsys, 2, *shlex.split(arguments)).err
    assert "usage: pixelrnn" in said and message in said.splitlines()[-1]


# The fixture nothing_is_loaded makes every attempt to load data fail with this error, so the error shows that a command
# has accepted its options.
STARTS_LOADING = "'NoneType' object is not callable"


def not_taken_error(option, name):
    return f"expected no {option} for {name}, which does not take it"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--model row --layer diagonal", not_taken_error("layer", "row")),
        ("--model cifar10-row --layer row", not_taken_error("layer", "cifar10-row")),
        ("--model row --factor 2", not_taken_error("factor", "row")),
        ("--model mnist-diagonal --upsampling-channels 8", not_taken_error("upsampling-channels", "mnist-diagonal")),
        ("--model pixelcnn --initial-state zero", not_taken_error("initial-state", "pixelcnn")),
        ("--model diagonal --kernel-size 5", not_taken_error("kernel-size", "diagonal")),
        ("--model multiscale --kernel-size 5", not_taken_error("kernel-size", "multiscale")),
        ("--model row --clip nan", "expected clip >= 0 and <= 1e30, got nan"),
        ("--model row --learning-rate 1e300", "expected learning_rate > 0 and <= 1e30, got 1e+300"),
        ("--model row --samples 100000000000", "expected samples in [0, 10000], got 100000000000"),
        ("--model row --steps 5 --warmup 6", "expected a warmup within the 5 steps of the training, got 6"),
        ("--model row --steps 5 --warmup 5", STARTS_LOADING),
        ("--model resnet", f"expected a model of {', '.join([*builder.KINDS, *models.CONFIGURATIONS])}, got 'resnet'"),
    ],
)
def test_options_that_cannot_work(nothing_is_loaded, tmp_path, capsys, options, sentence):
    assert error_of(capsys, "train --data digits", *options.split(), "--out", tmp_path / "new") == sentence
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [*builder.KINDS, *models.CONFIGURATIONS])
def test_options_that_a_model_takes(name):
    builder.check_options(name, dict(hidden_channels=4, num_layers=1, head_channels=4, residual=True, backend="auto"))
    if name == "multiscale":
        builder.check_options(name, dict(layer="row", kernel_size=5, factor=3, upsampling_channels=4))


BEGAN_WITH = "with which the training began, got"
BEGAN_WITHOUT = "without which the training began: --resume goes on with its options"
OLDER = ("shift", "weight_decay", "compile", "test")  # options that older checkpoints lack


@pytest.mark.parametrize(
    ("missing", "options", "sentence"),
    [
        ((), "--hidden-channels 4", f"expected --hidden-channels 3, {BEGAN_WITH} 4"),
        ((), "--model row", f"expected --model diagonal, {BEGAN_WITH} row"),
        ((), "--clip nan", f"expected --clip 1.0, {BEGAN_WITH} nan"),
        ((), "--factor 2", f"expected no --factor, {BEGAN_WITHOUT}"),
        ((), "--no-skip", f"expected no --no-skip, {BEGAN_WITHOUT}"),
        ((), "--conditional", f"expected no --conditional, {BEGAN_WITHOUT}"),
        (OLDER, "", STARTS_LOADING),
        (OLDER, "--shift 1", f"expected --shift 0, {BEGAN_WITH} 1"),
        (OLDER, "--compile off", STARTS_LOADING),
        ((), "--compile on", f"expected --compile off, {BEGAN_WITH} on"),
        (OLDER, "--weight-decay 0.1", f"expected no --weight-decay, {BEGAN_WITHOUT}"),
        (("seed",), "", "expected --seed in the checkpoint, which does not say how the training began"),
    ],
)
def test_a_resumed_training_has_its_options(
    nothing_is_loaded, tmp_path, capsys, monkeypatch, missing, options, sentence
):
    parsed = vars(parser.make("pixelrnn").parse_args(["train", "--data", "digits", *MODEL, "--out", str(tmp_path)]))
    stored = {name: value for name, value in parsed.items() if name not in ("run", *missing)}
    monkeypatch.setattr(checkpoint, "load", lambda path: ({}, {"arguments": stored}))
    (tmp_path / checkpoint.LAST).touch()
    assert error_of(capsys, "train --resume --out", tmp_path, *options.split()) == sentence


@pytest.mark.parametrize(
    ("choice", "compiled", "options", "sentence"),
    [
        ("on", True, "--compile off", STARTS_LOADING),
        ("auto", True, "", STARTS_LOADING),  # a choice of older versions
        ("auto", True, "--compile on", STARTS_LOADING),
        ("auto", False, "--compile on", f"expected --compile off, {BEGAN_WITH} on"),
    ],
)
def test_how_a_resumed_training_compiles(
    nothing_is_loaded, trained, tmp_path, capsys, choice, compiled, options, sentence
):
    def change(facts):
        facts["arguments"]["compile"], facts["compiled"] = choice, compiled

    change_facts(trained[0] / checkpoint.LAST, tmp_path / checkpoint.LAST, change)
    assert error_of(capsys, "train --resume --out", tmp_path, *options.split()) == sentence


def test_a_hidden_installation_does_not_train_slowly_in_silence(nothing_is_loaded, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(library, "hidden_installation", lambda: tmp_path)
    monkeypatch.setattr(library, "_why_no_native", "the source folder hides it")
    arguments = ["train --data digits", *MODEL, "--out", tmp_path / "new"]
    assert error_of(capsys, *arguments) == "the source folder hides it; or train slowly, with --backend reference"
    assert error_of(capsys, *arguments, "--backend", "reference") == STARTS_LOADING


def test_a_folder_that_cannot_be_written_to_is_found_first(nothing_is_loaded, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    expected = f"expected --out in a folder that can be written to, got {tmp_path}"
    assert error_of(capsys, "train --data digits", *MODEL, "--out", tmp_path / "new" / "er") == expected
    for command in ("sample", "complete"):
        assert error_of(capsys, command, trained[0], "--out", tmp_path / "x.png") == expected


TRAIN = f"train --data digits {' '.join(MODEL)} --tensorboard --out new"


@pytest.mark.parametrize(
    ("package", "command", "expected"),
    [
        *((package, TRAIN, package) for package in ("filelock", "safetensors.torch", "tqdm")),
        ("torch.utils.tensorboard", TRAIN, "pip install tensorboard"),
        *(("PIL.Image", f"{command} nothing --out new.png", "PIL.Image") for command in ("sample", "complete")),
        ("shtab", "--print-completion bash", "pip install shtab"),
    ],
)
def test_a_package_is_missed_before_the_work(
    nothing_is_loaded, capsys, tmp_path, monkeypatch, package, command, expected
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert expected in error_of(capsys, command)
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_without_its_data_set_asks_for_it(trained, tmp_path, capsys):
    path = tmp_path / checkpoint.LAST
    change_facts(trained[0] / checkpoint.LAST, path, lambda facts: facts["arguments"].pop("data"))
    assert error_of(capsys, "evaluate", path).startswith("expected --data, since")
    assert error_of(capsys, "train --resume --out", tmp_path) == "expected both --data and --model"


@pytest.mark.parametrize("command", ["sample x", "complete x", "compress x y", "check f:f --layout flat --shape 1x1x1"])
def test_a_terminal_gets_no_file(capsys, monkeypatch, command):
    monkeypatch.setattr("os.isatty", lambda descriptor: True)
    expected = "expected --out to name a file or a pipe, got /dev/stdout, which is a terminal"
    assert error_of(capsys, command, "--out", "-") == expected


def test_an_error_of_torchs_allocator_is_a_sentence():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    expected = f"expected sizes that fit into this machine's memory, got a tensor of {2**60} bytes"
    assert reason(raised.value) == expected


@pytest.mark.parametrize("command", ["sample", "complete"])
def test_no_picture_is_drawn_from_probabilities_that_are_nan(trained, tmp_path, capsys, command):
    """All parameters are finite, but the logits overflow."""
    tensors, facts = checkpoint.load(trained[0] / checkpoint.LAST)
    tensors |= {name: torch.full_like(tensor, 3e38) for name, tensor in tensors.items() if "model.head." in name}
    checkpoint.save(tmp_path / checkpoint.LAST, tensors, facts)
    assert cli.main([command, str(tmp_path / checkpoint.LAST), "--out", str(tmp_path / "new.png")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pixelrnn: expected PixelRNN to give probabilities, got NaN: ")
    assert not (tmp_path / "new.png").exists()


def test_torchrun_says_an_error_once(capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    said = []
    for machines, rank in (("1", "0"), ("3", "1")):
        monkeypatch.setenv("GROUP_WORLD_SIZE", machines)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert cli.main(["evaluate", "nothing"]) == 2
        said.append(capsys.readouterr().err)
    assert "got nothing\n" in said[0] and not said[1]
    assert cli._torchrun_command() == "torchrun --nnodes 3 --nproc-per-node 2 -m pixelrnn_ext"


def test_the_console_script(tmp_path):
    script = Path(sysconfig.get_path("scripts")) / "pixelrnn"
    done = subprocess.run([script, "evaluate", "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("got nothing\n")
