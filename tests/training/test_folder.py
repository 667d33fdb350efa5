"""A folder of pictures: its splits and classes, and that a checkpoint finds them again or says what is wrong."""

import errno
import hashlib
import io
import json
import os
import shutil
import sys

import numpy
import pytest
import torch
from PIL import Image

from helpers.tiny import ALONE, stop_before
from pixelrnn_ext import cli
from pixelrnn_ext.training import checkpoint, data, folder
from pixelrnn_ext.training.builder import build
from pixelrnn_ext.training.distributed import World
from pixelrnn_ext.training.loop import Training
from pixelrnn_ext.training.settings import Settings
from pixelrnn_ext.training.stored_data import load_again

SMALL = dict(image_size=(8, 8), gray=True)
NAMES = [f"{animal}/{i}.png" for animal in ("cats", "dogs") for i in range(12)]


@pytest.fixture
def pictures(tmp_path):
    """Ten readable images of several kinds in two folders, a truncated one, one that is text, and another file."""
    for animal in ("cats", "dogs"):
        (tmp_path / animal).mkdir()
    random = numpy.random.default_rng(0)
    for i, mode in enumerate(["RGB", "L", "RGBA", "P", "CMYK", "RGB", "1", "RGB", "LA", "RGB"]):
        pixels = random.integers(0, 256, (40 + i, 60 - i, 3), dtype=numpy.uint8)
        kind = "jpg" if mode == "CMYK" else "png"
        Image.fromarray(pixels).convert(mode).save(tmp_path / ("cats" if i < 4 else "dogs") / f"{i}.{kind}")
    whole = (tmp_path / "cats" / "0.png").read_bytes()
    (tmp_path / "cats" / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dogs" / "text.jpg").write_text("not an image")
    (tmp_path / "readme.txt").write_text("neither, but nobody says it is")
    return tmp_path


@pytest.mark.parametrize("options", [{}, dict(gray=True, image_size=(20, 16), fit="squash")], ids=["default", "gray"])
def test_folder(pictures, options):
    loaded = data.load(f"folder:{pictures}", **options)
    assert [len(loaded.splits[split]) for split in data.SPLITS] == [8, 1, 1]
    assert loaded.shape == ((1, 20, 16) if options else (3, 32, 32)) and loaded.levels == 256
    assert loaded.classes == ("cats", "dogs")
    why = f"{pictures}/cats/truncated.png cannot be read as an image: image file is truncated"
    assert loaded.notes[0].startswith(f"10 images read, 2 skipped as unreadable, the first: {why}")
    labels = torch.cat([split.labels for split in loaded.splits.values()])
    assert labels.bincount().tolist() == [4, 6]
    with pytest.raises(ValueError, match=f"^{why}"):
        data.load(f"folder:{pictures}", strict=True, **options)


def pixels_of(name):
    """The picture of that name, another one for every name."""
    seed = int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:4], "little")
    return numpy.random.default_rng(seed).integers(0, 256, (8, 8), dtype=numpy.uint8)


def write_pictures(path, names=NAMES):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_of(name)).save(path / name, "png")
    return path


def found_in(loaded, names):
    """{name: (split, class)} of the images, known by their pixels."""
    known = {pixels_of(name).tobytes(): name for name in names}
    found = {}
    for split, part in loaded.splits.items():
        for image, label in zip(part.images, part.labels):
            found[known[image.numpy().tobytes()]] = split, loaded.classes[label]
    return found


def test_the_name_of_a_file_chooses_its_split():
    """By the first 8 bytes of its SHA-256 modulo 10; a name need not be UTF-8."""
    names = [f"cats/{i}.png" for i in range(12)]
    chosen = {split: [name for name in names if folder.split_of(name) == split] for split in data.SPLITS[1:]}
    assert chosen == {"validation": ["cats/2.png"], "test": ["cats/1.png", "cats/6.png", "cats/8.png"]}
    assert folder.split_of("caf\xe9/1.png") == "validation" and folder.split_of("caf\udce9/1.png") == "train"
    for name in [*names, "caf\xe9/1.png", "caf\udce9/1.png"]:
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        expected = {0: "test", 1: "validation"}.get(int(digest[:16], 16) % 10, "train")
        assert folder.split_of(name) == expected


def test_a_new_file_moves_no_other(tmp_path):
    before = found_in(data.load(f"folder:{write_pictures(tmp_path)}", **SMALL), NAMES)
    assert before == {name: (folder.split_of(name), name[:4]) for name in NAMES}
    names = [*NAMES, "cats/new.png", "birds/1.png", "0.png"]
    after = found_in(data.load(f"folder:{write_pictures(tmp_path, names[-3:])}", **SMALL), names)
    assert after.items() > before.items() and len(after) == 27
    assert [after[name][1] for name in names[-3:]] == ["cats", "birds", "."]


def test_links_are_followed_but_not_for_ever(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", ["cats/1.png", "cats/2.png"])
    write_pictures(tmp_path / "elsewhere", ["1.png", "3.png"])
    (pictures / "dogs").symlink_to(tmp_path / "elsewhere")
    (pictures / "cats" / "all").symlink_to(pictures)
    (pictures / "loop").symlink_to(pictures / "loop")
    (pictures / "mice").symlink_to(tmp_path / "nowhere")
    (pictures / "notes").symlink_to(__file__)
    names, unreadable = folder.list_names(pictures)
    assert names == ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/3.png"]
    assert unreadable.keys() == {"loop", "mice"} and unreadable["mice"] == f"{pictures}/mice: No such file or directory"
    with pytest.raises(ValueError, match="pictures/(mice|loop): "):
        data.load(f"folder:{pictures}", strict=True)


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path, monkeypatch):
    write_pictures(tmp_path)
    files = data.load(f"folder:{tmp_path}", **SMALL).folder["files"]
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("dogs"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    why = f"{tmp_path}/dogs: Permission denied"
    loaded = data.load(f"folder:{tmp_path}", **SMALL)
    assert loaded.notes == (f"12 images read, 1 skipped as unreadable, the first: {why}",)
    for options in (dict(strict=True), dict(files=files)):
        with pytest.raises(ValueError, match=f"{why}$"):
            data.load(f"folder:{tmp_path}", **SMALL, **options)


def test_names_are_kept_byte_for_byte(tmp_path, monkeypatch):
    """In the order of their bytes, which is not that of the letters."""
    names = ["caf\xe9/1.png", "caf\udce9/1.png", "line\nbreak.png", "plain.png", "\uff21.png", "\udcf1.png"]
    monkeypatch.chdir(write_pictures(tmp_path / "pictures", names).parent)
    kept = json.loads(json.dumps(data.load("folder:pictures", **SMALL).facts))["folder"]
    assert kept["path"] == f"{tmp_path}/pictures"
    assert folder.names_of(kept["files"]) == names and kept["files"]["count"] == 6
    listed = b"caf\xc3\xa9/1.png\0caf\xe9/1.png\0line\nbreak.png\0plain.png\0\xef\xbc\xa1.png\0\xf1.png\0"
    assert kept["files"]["digest"] == hashlib.sha256(listed).hexdigest()


def test_a_folder_of_nothing_readable_says_why(tmp_path):
    (tmp_path / "x.png").write_text("a text")
    why = "no images read, 1 skipped as unreadable, the first: .*x.png cannot be read as an image: it is of no format"
    with pytest.raises(ValueError, match=f"expected images in {tmp_path}, got {why}"):
        data.load(f"folder:{tmp_path}")


def test_a_split_without_images(tmp_path):
    loaded = data.load(f"folder:{write_pictures(tmp_path, ['cats/1.png', 'cats/3.png'])}", **SMALL)
    loaded.check_not_empty("train", "test")
    expected = (
        "expected images for validation, got train 1, validation 0, test 1 of .*: the path of a file .* add files"
    )
    with pytest.raises(ValueError, match=expected):
        loaded.check_not_empty("validation")
    with pytest.raises(ValueError, match="expected images for train, validation, got"):
        training_on(loaded, tmp_path / "out", conditional=False)


# What a training keeps of its folder


def training_on(loaded, out, conditional=True, **settings):
    torch.manual_seed(0)
    model = build("row", loaded, conditional=conditional, hidden_channels=3, num_layers=1, head_channels=4)
    return Training(model, loaded, Settings(batch_size=4, samples=0, **settings), ALONE, out, say=[].append)


def test_a_training_goes_on_to_the_bit_with_its_own_files(tmp_path):
    """Although the folder moved, got new files and another working directory."""
    write_pictures(tmp_path / "pictures")
    spec = f"folder:{tmp_path / 'pictures'}"
    straight = training_on(data.load(spec, **SMALL), tmp_path / "straight", steps=6)
    assert straight.run()
    first = training_on(data.load(spec, **SMALL), tmp_path / "resumed", steps=6)
    assert not first.run(stop_before(3, first))

    (tmp_path / "pictures").rename(tmp_path / "moved")
    write_pictures(tmp_path / "moved", ["cats/new.png", "birds/1.png"])
    last = tmp_path / "resumed" / checkpoint.LAST
    facts = checkpoint.load(last)[1]
    with pytest.raises(
        NotADirectoryError, match="pictures; --data folder:PATH says where the images of the training are"
    ):
        load_again(facts, same=True)
    moved = f"folder:{tmp_path / 'moved'}"
    other = training_on(
        data.load(moved, **SMALL | dict(fit="squash"), files=facts["data"]["folder"]["files"]), tmp_path
    )
    with pytest.raises(
        ValueError,
        match="expected the data of the training, .*pictures .8x8 gray, crop., got .*moved .8x8 gray, squash.",
    ):
        other.resume(last)
    loaded = load_again(facts, moved, same=True)
    assert loaded.notes == ("24 images read, 2 left out that the training has not seen",)
    second = training_on(loaded, tmp_path / "resumed", steps=6)
    second.resume(last)
    assert second.run() and second.progress == straight.progress
    expected, got = (checkpoint.load(tmp_path / name / checkpoint.LAST)[0] for name in ("straight", "resumed"))
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_processes_must_see_the_same_files(tmp_path):
    class Another(World):
        """Of two processes, the other one with the sum of other files."""

        def sum(self, values):
            return 2 * values + (1 if values.dtype == torch.int64 and values > 1 else 0)

    loaded = data.load(f"folder:{write_pictures(tmp_path)}", **SMALL)
    with pytest.raises(ValueError, match="expected the same files in .* for all processes, got others for some"):
        model = build("row", loaded, hidden_channels=3, num_layers=1, head_channels=4)
        Training(model, loaded, Settings(batch_size=4), Another(0, 2, torch.device("cpu"), object()), tmp_path)


def test_other_data_is_found_as_before(tmp_path, monkeypatch):
    """By its name and the options of the training; an older checkpoint may have a relative path."""
    monkeypatch.setattr(data, "load", lambda *args, **options: (*args, options))
    monkeypatch.chdir(tmp_path)
    arguments = {"data": "mnist:here", "binarisation": "dynamic", "image_size": None}
    facts = {"data": {"name": "mnist", "classes": []}, "arguments": arguments}
    here = f"mnist:{tmp_path}/here"
    assert load_again(facts) == (here, dict(binarisation="dynamic"))
    assert load_again(facts, binarisation="static") == (here, dict(binarisation="static"))
    assert load_again(facts, "mnist:here", same=True, binarisation="dynamic") == (here, dict(binarisation="dynamic"))
    assert load_again(facts, "folder:there", gray=True) == (f"folder:{tmp_path}/there", dict(gray=True))
    for other in ("mnist:there", "folder:here", "digits"):
        with pytest.raises(ValueError, match=f"expected --data {here}, with which the training began, got {other[:5]}"):
            load_again(facts, other, same=True)


MODEL = ["--model", "row", "--hidden-channels", "3", "--num-layers", "1", "--head-channels", "4", "--conditional"]
READ, SHORT = ["--image-size", "8", "--gray"], ["--batch-size", "4", "--steps", "1", "--samples", "0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Pictures, the folder of a training on them by a relative path, and the last line that it printed."""
    root = tmp_path_factory.mktemp("trained")
    write_pictures(root / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("tqdm.tqdm.write", lines.append)
        patch.chdir(root)
        assert cli.main(["train", "--data", "folder:pictures", *READ, *SHORT, *MODEL, "--out", "run"]) == 0
    return root, lines[-1].removesuffix(", the best on validation")


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the pictures and a training that says that it was trained on it."""
    root, _ = trained
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    change_facts(tmp_path, lambda facts: facts["data"]["folder"].update(path=str(tmp_path / "pictures")))
    change_facts(tmp_path, lambda facts: facts["arguments"].update(data=f"folder:{tmp_path / 'pictures'}"))
    return tmp_path


def change_facts(root, change):
    for name in (checkpoint.LAST, checkpoint.BEST):
        tensors, facts = checkpoint.load(root / "run" / name)
        change(facts)
        checkpoint.save(root / "run" / name, tensors, facts)


def run(capsys, *arguments):
    """Exit status, standard output and the lines of standard error."""
    status = cli.main(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return status, printed.out.strip(), printed.err.splitlines()


def refused(capsys, *arguments):
    status, _, (line,) = run(capsys, *arguments)
    assert status == 2
    return line.removeprefix("pixelrnn: ")


def test_evaluate_reads_the_folder_as_the_training_did(trained, capsys):
    """From another working directory."""
    root, headline = trained
    status, out, notes = run(capsys, "evaluate", root / "run")
    assert (status, out, notes) == (0, headline, ["24 images read"])
    assert run(capsys, "evaluate", root / "run", "--image-size", "8", "--fit", "crop", "--strict")[:2] == (0, headline)
    stored = checkpoint.load(root / "run" / checkpoint.LAST)[1]["data"]
    assert stored["classes"] == ["cats", "dogs"] and stored["folder"]["path"] == str(root / "pictures")
    assert folder.names_of(stored["folder"]["files"]) == sorted(NAMES)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--image-size", "4x8"], "expected --image-size 8x8, with which the training began, got 4x8"),
        (["--fit", "cut"], "expected --fit crop, with which the training began, got cut"),
    ],
    ids=["size", "fit"],
)
def test_other_image_options_are_refused(trained, tmp_path, capsys, option, message):
    root, _ = trained
    assert refused(capsys, "evaluate", root / "run", *option) == message
    assert refused(capsys, "evaluate", root / "run", "--data", f"folder:{root / 'pictures'}", *option) == message
    assert refused(capsys, "complete", root / "run", "--out", tmp_path / "x.png", *option) == message
    assert refused(capsys, "train", "--resume", "--out", root / "run", *option) == message


def test_new_files_are_left_out_and_said(copied, trained, capsys):
    write_pictures(copied / "pictures", [f"birds/{i}.png" for i in range(40)])
    score = trained[1].split(" bits/dim")[0]
    status, out, notes = run(capsys, "evaluate", copied / "run")
    assert status == 0 and out.startswith(f"{score} bits/dim") and ", 4 images;" in out
    assert notes == ["24 images read, 40 left out that the training has not seen"]
    assert run(capsys, "train", "--resume", "--steps", "2", "--out", copied / "run")[0] == 0
    assert checkpoint.load(copied / "run" / checkpoint.LAST)[1]["data"]["folder"]["files"]["count"] == 24


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: (path / "cats/3.png").unlink(), "got 1 fewer: cats/3.png is not there"),
        (lambda path: (path / "cats").rename(path / "lions"), "got 12 fewer: cats/0.png is not there"),
        (
            lambda path: (path / "dogs/3.png").write_text("x"),
            "got 1 fewer: {path}/dogs/3.png cannot be read as an image",
        ),
    ],
    ids=["removed", "renamed-class", "damaged"],
)
def test_missing_files_are_refused(copied, capsys, change, why):
    pictures = copied / "pictures"
    change(pictures)
    expected = f"expected the 24 files of the training in {pictures}, {why.format(path=pictures)}"
    for command in (["evaluate"], ["complete", "--out", copied / "x.png"]):
        assert refused(capsys, *command, copied / "run").startswith(expected)
    assert refused(capsys, "train", "--resume", "--out", copied / "run").startswith(expected)
    again = ["train", "--resume", "--data", f"folder:{pictures}", "--out", copied / "run"]
    assert refused(capsys, *again).startswith(expected)


def test_a_moved_folder_is_named(copied, trained, capsys, monkeypatch):
    moved = copied / "elsewhere"
    (copied / "pictures").rename(moved)
    where = f"expected a folder of images, got {copied}/pictures; --data folder:PATH says where the images of the"
    for arguments in (["evaluate", copied / "run"], ["train", "--resume", "--out", copied / "run"]):
        assert refused(capsys, *arguments).startswith(where)
    monkeypatch.chdir(copied)
    score = trained[1].split(" bits/dim")[0]
    assert run(capsys, "evaluate", "run", "--data", "folder:elsewhere")[1].startswith(f"{score} bits/dim; {moved} ")
    status, out, _ = run(capsys, "train", "--resume", "--steps", "2", "--out", "run", "--data", "folder:elsewhere")
    assert status == 0 and "from step 1" in out
    facts = checkpoint.load(copied / "run" / checkpoint.LAST)[1]
    assert facts["data"]["folder"]["path"] == str(moved) and facts["arguments"]["data"] == f"folder:{moved}"


def test_another_folder_is_said_to_be_another(copied, capsys):
    """Its own pictures are scored, of the same classes if the model knows classes."""
    other = write_pictures(copied / "other", NAMES[2:])
    status, out, (first, second) = run(capsys, "evaluate", copied / "run", "--data", f"folder:{other}")
    assert status == 0 and f"; {other} (8x8 gray, crop), 3 images;" in out and first == "22 images read"
    expected = f"expected the 24 files of the training in {other}, got 2 fewer: cats/0.png is not there"
    assert second == f"not the images of the training: {expected}"
    assert refused(capsys, "train", "--resume", "--out", copied / "run", "--data", f"folder:{other}") == expected
    wolves = write_pictures(copied / "wolves", [name.replace("cats", "wolves") for name in NAMES])
    sentence = refused(capsys, "evaluate", copied / "run", "--data", f"folder:{wolves}")
    assert sentence == "expected the classes of the training, cats, dogs, got dogs, wolves"
    few = write_pictures(copied / "few", ["cats/0.png", "dogs/1.png"])
    sentence = refused(capsys, "evaluate", copied / "run", "--data", f"folder:{few}")
    assert sentence.startswith("expected images for test, got train 2, validation 0, test 0 of ")
    sentence = refused(capsys, "train", "--resume", "--out", copied / "run", "--data", "digits")
    assert sentence == f"expected --data folder:{copied}/pictures, with which the training began, got digits"


def test_an_older_checkpoint_is_refused(copied, capsys):
    """It was trained on a split that depended on the number of files; its model draws all the same."""
    change_facts(copied, lambda facts: facts["data"].pop("folder"))
    old = "expected a checkpoint that names the files it was trained on, got one of an earlier version"
    here = f"folder:{copied / 'pictures'}"
    for more in ([], ["--data", here]):
        assert refused(capsys, "evaluate", copied / "run", *more).startswith(old)
        assert refused(capsys, "complete", copied / "run", "--out", copied / "x.png", *more).startswith(old)
        assert refused(capsys, "train", "--resume", "--out", copied / "run", *more).startswith(old)
    last = copied / "run" / checkpoint.LAST
    with pytest.raises(ValueError, match=old):
        training_on(data.load(here, **SMALL), copied / "x").resume(last)
    change_facts(copied, lambda facts: facts["data"].update(name="digits", description="digits"))
    with pytest.raises(ValueError, match="expected the data of the training, digits, got .*pictures"):
        training_on(data.load(here, **SMALL), copied / "x").resume(last)
    assert run(capsys, "sample", copied / "run", "--count", "1", "--out", copied / "x.png")[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop("files"),
        lambda kept: kept["options"].pop("fit"),
        lambda kept: kept.update(path=3),
        lambda kept: kept["files"].update(digest="0" * 64),
        lambda kept: kept["files"].update(names="AAAA"),
        lambda kept: kept["files"].update(names=["cats/0.png"]),
    ],
    ids=["no-files", "no-option", "path", "digest", "names", "names-type"],
)
def test_damaged_facts_of_a_folder(copied, capsys, change):
    change_facts(copied, lambda facts: change(facts["data"]["folder"]))
    assert "damaged" in refused(capsys, "evaluate", copied / "run")


def test_max_pixels(copied, capsys):
    """Of a training, and kept for what comes after it."""
    Image.new("L", (9, 9)).save(copied / "pictures" / "cats" / "0.png")
    data_options = ["--data", f"folder:{copied / 'pictures'}", *READ, "--max-pixels", "64"]
    status, out, _ = run(capsys, "train", *data_options, *SHORT, *MODEL, "--out", copied / "new")
    assert status == 0 and "23 images read, 1 skipped as unreadable, the first: " in out
    assert (
        "cats/0.png cannot be read as an image: expected at most 64 pixels, which --max-pixels can raise, got 81" in out
    )
    assert run(capsys, "evaluate", copied / "new")[2] == ["23 images read, 1 left out that the training has not seen"]


def test_a_folder_whose_name_is_not_utf8(tmp_path, monkeypatch):
    """On a standard output that takes UTF-8 alone, and in the title of a picture."""
    write_pictures(tmp_path / "caf\udce9")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True))
    options = [*READ, *SHORT, *MODEL]
    assert cli.main(["train", "--data", f"folder:{tmp_path}/caf\udce9", *options, "--out", f"{tmp_path}/run"]) == 0
    assert cli.main(["evaluate", f"{tmp_path}/run"]) == 0
    printed = sys.stdout.buffer.getvalue()
    assert rf"{tmp_path}/caf\udce9 (8x8 gray, crop), 4 images".encode() in printed.splitlines()[-1]
