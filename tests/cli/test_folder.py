import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from helpers.pictures import NAMES, write_named_pictures
from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint, folder

from .command_line import change_facts, error_of, pixelrnn

OPTIONS = "--image-size 8 --gray --batch-size 4 --steps 1 --samples 0"
OPTIONS = f"{OPTIONS} --model row --hidden-channels 3 --num-layers 1 --head-channels 4 --conditional".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a training on pictures, and the last line that the training printed.

    The training's option --data names the pictures by a relative path.
    """
    root = tmp_path_factory.mktemp("trained")
    write_named_pictures(root / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        patch.chdir(root)
        pixelrnn("train", "--data", "folder:pictures", *OPTIONS, "--out", "run")
    return root, lines[-1].removesuffix(", the best on validation")


@pytest.fixture
def cwd(run, tmp_path, monkeypatch):
    """The working directory of a test, with copies of a training and of its pictures."""
    shutil.copytree(run[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    change_run(lambda facts: facts["data"]["folder"].update(path=str(tmp_path / "pictures")))
    change_run(lambda facts: facts["arguments"].update(data=f"folder:{tmp_path / 'pictures'}"))
    return tmp_path


def change_run(change):
    for name in (checkpoint.LAST, checkpoint.BEST):
        change_facts(Path("run") / name, Path("run") / name, change)


def damaged(change):
    return lambda: change_run(lambda facts: change(facts["data"]["folder"]))


def evaluate(capsys, *arguments):
    capsys.readouterr()
    pixelrnn("evaluate", *arguments)
    printed = capsys.readouterr()
    return printed.out.strip(), printed.err.splitlines()


def test_evaluate_reads_the_folder_as_the_training_did(run, capsys):
    root, headline = run
    assert evaluate(capsys, root / "run") == (headline, ["24 images read"])
    assert evaluate(capsys, root / "run", "--image-size", "8", "--fit", "crop", "--strict")[0] == headline
    stored = checkpoint.load(root / "run" / checkpoint.LAST)[1]["data"]
    assert stored["classes"] == ["cats", "dogs"] and stored["folder"]["path"] == str(root / "pictures")
    assert folder.names_of(stored["folder"]["files"]) == sorted(NAMES)


FEWER = "expected the 24 files of the training in {pictures}, got"
IS_DAMAGED, LIST_IS_DAMAGED = "the checkpoint is damaged", "the checkpoint's list of files is damaged: "
OTHER_PICTURES = {
    "a file less": (lambda: Path("pictures/cats/3.png").unlink(), f"{FEWER} 1 fewer: cats/3.png is not there"),
    "a damaged file": (
        lambda: Path("pictures/dogs/3.png").write_text("x"),
        f"{FEWER} 1 fewer: {{pictures}}/dogs/3.png cannot be read as an image",
    ),
    "moved": (
        lambda: Path("pictures").rename("elsewhere"),
        "expected a folder of images, got {pictures}; --data folder:PATH says where the images of the training are now",
    ),
    "no facts": (
        lambda: change_run(lambda facts: facts["data"].pop("folder")),
        "expected a checkpoint that names the files it was trained on, got one of an earlier version",
    ),
    "no files": (damaged(lambda kept: kept.pop("files")), IS_DAMAGED),
    "no option": (damaged(lambda kept: kept["options"].pop("fit")), IS_DAMAGED),
    "path": (damaged(lambda kept: kept.update(path=3)), IS_DAMAGED),
    "digest": (damaged(lambda kept: kept["files"].update(digest="0" * 64)), LIST_IS_DAMAGED),
    "names": (damaged(lambda kept: kept["files"].update(names="AAAA")), LIST_IS_DAMAGED),
    "names-type": (damaged(lambda kept: kept["files"].update(names=["cats/0.png"])), LIST_IS_DAMAGED),
}


COMMANDS = ["evaluate run", "complete run --out x.png", "train --resume --out run"]


@pytest.mark.parametrize("kind", OTHER_PICTURES)
def test_other_pictures_and_damaged_facts_are_refused(cwd, capsys, kind):
    change, sentence = OTHER_PICTURES[kind]
    change()
    for command in COMMANDS:
        for where in ("", " --data folder:pictures"):
            assert error_of(capsys, command + where).startswith(sentence.format(pictures=cwd / "pictures"))


@pytest.mark.parametrize(("option", "used", "got"), [("--image-size", "8x8", "4x8"), ("--fit", "crop", "cut")])
@pytest.mark.parametrize("command", COMMANDS)
def test_other_image_options_are_refused(cwd, capsys, command, option, used, got):
    sentence = f"expected {option} {used}, with which the training began, got {got}"
    assert error_of(capsys, command, option, got) == sentence


def test_a_checkpoint_without_its_pictures_draws_all_the_same(cwd):
    change_run(lambda facts: facts["data"].pop("folder"))
    pixelrnn("sample", "run", "--count", "1", "--out", "x.png")


@pytest.mark.parametrize("place", ["pictures", "elsewhere"])
def test_a_folder_may_move_and_new_files_are_left_out_and_said(cwd, run, capsys, place):
    Path("pictures").rename(place)
    write_named_pictures(cwd / place, [f"birds/{i}.png" for i in range(40)])
    where = [] if place == "pictures" else ["--data", f"folder:{place}"]
    out, notes = evaluate(capsys, "run", *where)
    score = run[1].split(" bits/dim")[0]
    assert out.startswith(f"{score} bits/dim; {cwd / place} ") and ", 4 images;" in out
    assert notes == ["24 images read, 40 left out that the training has not seen"]
    pixelrnn("train", "--resume", "--steps", "2", "--out", "run", *where)
    assert "from step 1" in capsys.readouterr().out
    facts = checkpoint.load(cwd / "run" / checkpoint.LAST)[1]
    assert facts["arguments"]["data"] == f"folder:{cwd / place}"
    assert facts["data"]["folder"]["path"] == str(cwd / place) and facts["data"]["folder"]["files"]["count"] == 24


def test_another_folder_is_said_to_be_another(cwd, capsys):
    other = write_named_pictures(cwd / "other", NAMES[2:])
    out, notes = evaluate(capsys, "run", "--data", "folder:other")
    assert f"; {other} (8x8 gray, crop), 3 images;" in out
    expected = f"expected the 24 files of the training in {other}, got 2 fewer: cats/0.png is not there"
    assert notes == ["22 images read", f"not the images of the training: {expected}"]
    write_named_pictures(cwd / "wolves", [name.replace("cats", "wolves") for name in NAMES])
    write_named_pictures(cwd / "few", ["cats/0.png", "dogs/1.png"])
    resume = ["train", "--resume", "--out", "run"]
    for command, where, sentence in (
        (resume, "folder:other", expected),
        (resume, "digits", f"expected --data folder:{cwd}/pictures, with which the training began, got digits"),
        (["evaluate", "run"], "folder:wolves", "expected the classes of the training, cats, dogs, got dogs, wolves"),
        (["evaluate", "run"], "folder:few", "expected images for test, got train 2, validation 0, test 0 of "),
    ):
        assert error_of(capsys, *command, "--data", where).startswith(sentence)


@pytest.mark.parametrize("in_memory", [folder.IN_MEMORY, 0], ids=["in memory", "mapped"])
def test_changed_pictures_are_noticed(cwd, capsys, monkeypatch, in_memory):
    monkeypatch.setattr(folder, "IN_MEMORY", in_memory)
    assert evaluate(capsys, "run", "--cache", "cache")[1] == ["24 images read"]
    Image.new("L", (8, 8)).save("pictures/cats/0.png")
    out, notes = evaluate(capsys, "run", "--cache", "cache", "--json")
    other = "not the images of the training: the data set has changed, or is read with other options"
    assert notes == json.loads(out)["notes"] == ["24 images read", other]
    refused = "expected the data of the training, .* with other pixels, labels or names of classes"
    assert re.match(refused, error_of(capsys, "train --resume --out run --cache cache"))


def test_max_pixels(cwd, capsys):
    Image.new("L", (9, 9)).save("pictures/cats/0.png")
    pixelrnn("train", "--data", "folder:pictures", "--max-pixels", "64", *OPTIONS, "--out", "new")
    skipped = "23 images read, 1 skipped as unreadable, the first: .*cats/0.png cannot be read as an image: "
    skipped += "expected at most 64 pixels, which --max-pixels can raise, got 81"
    assert re.search(skipped, capsys.readouterr().out)
    assert evaluate(capsys, "new")[1] == ["23 images read, 1 left out that the training has not seen"]


def test_a_folder_whose_name_is_not_utf8(tmp_path, monkeypatch):
    """`evaluate` prints an escape for each byte of the folder's name that is not UTF-8."""
    write_named_pictures(tmp_path / "caf\udce9")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True))
    assert cli.main(["train", "--data", f"folder:{tmp_path}/caf\udce9", *OPTIONS, "--out", f"{tmp_path}/run"]) == 0
    assert cli.main(["evaluate", f"{tmp_path}/run"]) == 0
    printed = sys.stdout.buffer.getvalue()
    assert rf"{tmp_path}/caf\udce9 (8x8 gray, crop), 4 images".encode() in printed.splitlines()[-1]
