"""Without --force no command replaces one of its inputs, a checkpoint or a file of a training."""

import argparse
import os
import re

import pytest
from PIL import Image

from helpers.pictures import write_named_pictures
from helpers.tiny import tiny_checkpoint
from pixelrnn_ext.cli import arguments, outputs, parser
from pixelrnn_ext.models import trained
from pixelrnn_ext.training import checkpoint, data, output
from pixelrnn_ext.training.folder import describe_files

from .command_line import change_facts, error_of, pixelrnn

# Options whose text is not a path.
WORDS = {"--label", "--model", "--only", "--splits", "--image-column", "--label-column", "--revision"}
MNIST = "MNIST/raw/images", "t10k-labels-idx1-ubyte.gz"
PATHS = (
    arguments.non_empty,
    arguments.input_file,
    arguments.output_file,
    arguments.output_folder,
    arguments.output_images,
)
FREE_TEXT = (None, str, data.absolute, *PATHS)
PARSER = parser.make("pixelrnn")
(SUBPARSERS,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
COMMANDS = SUBPARSERS.choices


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_an_input_an_output_or_a_word(name):
    """If a new option names an input, add it to ``outputs.INPUTS``."""
    command = COMMANDS[name]
    free = [
        action for action in command._actions if action.nargs != 0 and not action.choices and action.type in FREE_TEXT
    ]
    others = [action for action in free if action.dest not in outputs.INPUTS]
    others = [action.dest for action in others if not WORDS.intersection(action.option_strings)]
    assert others == (["out"] if command.get_default("writes") in outputs.REPLACED else [])
    assert {action.dest for action in command._actions} >= ({"force"} if others and name != "decompress" else set())


CHECKPOINT, TRAINING_FILE, INPUT = "a checkpoint", "a file of the training", "an input of this command"
FILES = {  # {file of a training: its kind in the error message}
    checkpoint.LAST: CHECKPOINT,
    checkpoint.BEST: CHECKPOINT,
    "log.jsonl": TRAINING_FILE,
    "learning-curve.png": TRAINING_FILE,  # a symbolic link to a file elsewhere
    "samples-0000005.png": TRAINING_FILE,
    "tensorboard/events.out.tfevents.1": TRAINING_FILE,
    output.LOCK: TRAINING_FILE,
}


@pytest.fixture
def cwd(tmp_path, monkeypatch):
    """The working directory of a test, with a training, checkpoints and pictures.

    The functions that load a model or data are replaced by None. So a command must refuse a wrong output path first.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint, "load_model", None)
    monkeypatch.setattr(data, "load", None)
    run = tmp_path / "run"
    (run / "tensorboard").mkdir(parents=True)
    for name, kind in FILES.items():
        if kind == CHECKPOINT:
            tiny_checkpoint(run / name)
        else:
            (run / name).write_text("of days")
    (run / "learning-curve.png").rename("disk")
    (run / "learning-curve.png").symlink_to("../disk")
    model = tiny_checkpoint(tmp_path / "model")
    pictures = write_named_pictures(tmp_path / "pictures", ["a.png", "below/b.png", "new.png"])
    options = {"image_size": [4, 5], "fit": "crop", "gray": True, "max_pixels": 99}
    folder = {"path": str(pictures), "options": options, "files": describe_files(["a.png", "below/b.png"])}
    change_facts(model, tmp_path / "of-pictures", lambda facts: facts["data"].update(folder=folder))
    for name in (*MNIST, "mask.png", "damaged", "old", "val_data.npz", "lower-half", "samples-1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"any")
    return tmp_path


def paths_to(file, cwd, hard_link):
    """Yields paths and symbolic links to one file and, with ``hard_link``, a hard link."""
    yield file
    yield os.path.relpath(file)
    yield file.parent / ".." / file.parent.name / file.name
    (cwd / "link.png").symlink_to(file)
    yield cwd / "link.png"
    (cwd / "run" / "second").symlink_to("../link.png")
    yield cwd / "run" / "second"
    (cwd / "folder").symlink_to(file.parent)
    yield cwd / "folder" / file.name
    if hard_link:
        (cwd / "other").mkdir()
        os.link(file, cwd / "other" / "x.png")
        yield cwd / "other" / "x.png"


REFUSED = [
    *(("sample model --count 1", f"run/{name}", kind) for name, kind in FILES.items()),
    ("sample model", "model", CHECKPOINT),
    ("sample damaged", "damaged", INPUT),
    ("complete model", "of-pictures", CHECKPOINT),
    ("complete model --hide mask.png", "mask.png", INPUT),
    ("complete of-pictures", "pictures/a.png", INPUT),
    ("complete of-pictures --data folder:pictures", "pictures/below/b.png", INPUT),
    ("complete model --data folder:pictures", "pictures/new.png", INPUT),
    ("complete model --data mnist:.", MNIST[0], INPUT),
    ("compress model pictures/a.png mask.png", "mask.png", INPUT),
    ("compress model pictures", "pictures/below/b.png", INPUT),
    ("compress run pictures", "run/last.safetensors", CHECKPOINT),
    ("compress model imagenet32:.:test", "val_data.npz", INPUT),
    ("compress model pictures --label mnist:.:test", MNIST[1], INPUT),
]


def check(*words):
    outputs.check(PARSER.parse_args(words))


@pytest.mark.parametrize(("words", "file", "kind"), REFUSED)
def test_what_is_not_replaced(cwd, capsys, words, file, kind):
    """No path to a protected file, and no link to it, may be --out.

    The only exception is a hard link to a training's log or picture.
    """
    before = (cwd / file).read_bytes()
    for out in paths_to(cwd / file, cwd, hard_link=kind != TRAINING_FILE):
        sentence = error_of(capsys, *words.split(), "--out", out)
        expected = f"expected --out to replace no input, no checkpoint and no file of a training, got {out}, "
        assert re.fullmatch(rf"{re.escape(expected + kind)}( in \S+)?: --force replaces it", sentence)
        assert (cwd / file).read_bytes() == before
        check(*words.split(), "--out", str(out), "--force")


def test_the_files_of_packages_are_not_replaced(cwd, capsys):
    for name in trained.PRETRAINED:
        assert CHECKPOINT in error_of(capsys, "sample", "model", "--out", trained.FOLDER / f"{name}.safetensors")
    for name in ("digits", "mnist5k", "photos"):
        files = data.paths(name)
        assert files and {*data.PHOTOS["test"]} <= {file.name for file in data.paths("photos")}
        assert "an input" in error_of(capsys, "complete", "model", "--data", name, "--out", files[0])


@pytest.mark.parametrize(
    "command",
    [
        "sample model --out old",
        "sample model --out samples-1.png",
        "sample model --out pictures/a.png",
        "sample run --out run/new.png",
        "complete of-pictures --out pictures/new.png",
        "complete model --data folder:pictures --out pictures/newer.png",
        "complete model --out lower-half",
        "complete nothing --data folder:nothing --out old",
        "compress model pictures nothing --out old",
        "compress model pictures --out /dev/stdout",
        "compress model /dev/null --out /dev/null",
        "decompress model old --out pictures",
        "info model",
    ],
)
def test_what_is_replaced_as_before(cwd, command):
    check(*command.split())


def test_force_replaces(tmp_path):
    model, picture = tiny_checkpoint(tmp_path / "model"), tmp_path / "a.png"
    Image.new("1", (5, 4)).save(picture)
    before = picture.read_bytes()
    pixelrnn("compress", model, picture, "--out", picture, "--force")
    assert picture.read_bytes() != before


@pytest.mark.parametrize("name", ["last.safetensors", "samples-0000005.png", "tensorboard"])
def test_a_training_replaces_its_own_files_alone(cwd, capsys, name):
    """A training refuses to replace a symbolic link to another training's file. It replaces a hard link."""
    train = ["train", "--data", "digits", "--model", "row", "--overwrite", "--out", "new"]
    (cwd / "new").mkdir()
    tiny_checkpoint(cwd / "new" / "best.safetensors")
    os.link(cwd / "run" / "log.jsonl", cwd / "new" / "log.jsonl")
    check(*train)
    (cwd / "new" / name).symlink_to(f"../run/{name}")
    kind = FILES.get(name, TRAINING_FILE)
    sentence = error_of(capsys, *train)
    assert f", got {cwd}/run/{name}" in sentence and f", {kind}" in sentence and "--force" in sentence
    check(*train, "--force")


def test_a_training_keeps_the_pictures_that_it_reads(cwd, capsys):
    (cwd / "new").mkdir()
    (cwd / "new" / "learning-curve.png").symlink_to("../pictures/a.png")
    train = ["train", "--data", "folder:pictures", "--model", "row", "--overwrite", "--out"]
    assert "a.png, an input of this command" in error_of(capsys, *train, "new")
    (cwd / "new" / "last.safetensors").write_bytes((cwd / "of-pictures").read_bytes())
    assert "a.png, an input of this command" in error_of(capsys, "train", "--resume", "--out", "new")
    pictures = cwd / "pictures"
    picture = (pictures / "a.png").rename(pictures / "samples-0000001.png")
    for begin in (["--overwrite"], ["--resume", "auto"]):  # "auto" begins a training, because there is no checkpoint
        sentence = error_of(capsys, "train", *begin, "--data", "folder:pictures", "--model", "row", "--out", "pictures")
        assert "samples-0000001.png, an input of this command" in sentence
    picture.rename(pictures / "samples-best.png")
    assert not output.training_files(pictures)
