import errno
import hashlib
import json
import os

import numpy
import pytest
import torch
from PIL import Image

from helpers.pictures import NAMES, named_pixels, write_named_pictures
from helpers.tiny import SINGLE_PROCESS, resumed_training, tiny_training
from pixelrnn_ext.training import checkpoint, data, folder
from pixelrnn_ext.training.distributed import ProcessError, World
from pixelrnn_ext.training.stored_data import load_again


def load(folder, **options):
    return data.load(f"folder:{folder}", image_size=(8, 8), gray=True, **options)


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures in two subfolders, a truncated image, a text with the suffix .jpg, and a file of another type."""
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


@pytest.mark.parametrize("more", [[], ["0.png", "birds/1.png", "cats/new.png"]], ids=["some", "more"])
def test_the_split_and_class_of_a_picture_follow_from_its_name(tmp_path, more):
    names = sorted([*NAMES, *more])
    loaded = load(write_named_pictures(tmp_path, names))
    assert loaded.classes == ((".", "birds", "cats", "dogs") if more else ("cats", "dogs"))
    for split, part in loaded.splits.items():
        chosen = [name for name in names if folder.split_of(name) == split]
        assert [image.tolist() for image in part.images[:, 0]] == [named_pixels(name).tolist() for name in chosen]
        assert [loaded.classes[label] for label in part.labels] == [folder.class_of(name) for name in chosen]


def test_links_are_followed_but_not_for_ever(tmp_path):
    pictures = write_named_pictures(tmp_path / "pictures", ["cats/1.png", "cats/2.png"])
    write_named_pictures(tmp_path / "elsewhere", ["1.png", "3.png"])
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
    write_named_pictures(tmp_path)
    files = load(tmp_path).folder["files"]
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("dogs"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    why = f"{tmp_path}/dogs: Permission denied"
    loaded = load(tmp_path)
    assert loaded.notes == (f"12 images read, 1 skipped as unreadable, the first: {why}",)
    for options in (dict(strict=True), dict(files=files)):
        with pytest.raises(ValueError, match=f"{why}$"):
            load(tmp_path, **options)


def test_names_are_kept_byte_for_byte(tmp_path, monkeypatch):
    names = ["caf\xe9/1.png", "caf\udce9/1.png", "line\nbreak.png", "plain.png", "\uff21.png", "\udcf1.png"]
    monkeypatch.chdir(write_named_pictures(tmp_path / "pictures", names).parent)
    kept = json.loads(json.dumps(load("pictures").facts))["folder"]
    assert kept["path"] == f"{tmp_path}/pictures"
    assert folder.names_of(kept["files"]) == names and kept["files"]["count"] == 6
    assert folder.split_of(names[0]) == "validation" and folder.split_of(names[1]) == "train"
    listed = b"caf\xc3\xa9/1.png\0caf\xe9/1.png\0line\nbreak.png\0plain.png\0\xef\xbc\xa1.png\0\xf1.png\0"
    assert kept["files"]["digest"] == hashlib.sha256(listed).hexdigest()


def test_a_folder_of_nothing_readable_says_why(tmp_path):
    (tmp_path / "x.png").write_text("a text")
    why = "no images read, 1 skipped as unreadable, the first: .*x.png cannot be read as an image: it is of no format"
    with pytest.raises(ValueError, match=f"expected images in {tmp_path}, got {why}"):
        data.load(f"folder:{tmp_path}")


def test_a_split_without_images(tmp_path):
    loaded = load(write_named_pictures(tmp_path, ["cats/1.png", "cats/3.png"]))
    loaded.check_not_empty("train", "test")
    got = "got train 1, validation 0, test 1 of .*: the path of a file .* add files"
    with pytest.raises(ValueError, match=f"expected images for validation, {got}"):
        loaded.check_not_empty("validation")
    with pytest.raises(ValueError, match=f"expected images for train, validation, {got}"):
        tiny_training(tmp_path / "out", loaded)


def test_a_training_goes_on_with_its_own_files_of_a_folder_that_moved_and_grew(tmp_path):
    loaded = load(write_named_pictures(tmp_path / "pictures"))
    tiny_training(tmp_path, loaded, "row", conditional=True).save()
    facts = checkpoint.load(tmp_path / checkpoint.LAST)[1]

    (tmp_path / "pictures").rename(tmp_path / "moved")
    write_named_pictures(tmp_path / "moved", ["cats/new.png", "birds/1.png"])
    again = load_again(facts, f"folder:{tmp_path / 'moved'}", same=True)
    assert again.notes == ("24 images read, 2 left out that the training has not seen",)
    assert again.classes == loaded.classes
    for split, part in loaded.splits.items():
        assert torch.equal(part.images, again.splits[split].images)
        assert torch.equal(part.labels, again.splits[split].labels)
    resumed_training(tmp_path, images=again, model="row", conditional=True)
    squashed = load(tmp_path / "moved", fit="squash", files=facts["data"]["folder"]["files"])
    expected = "expected the data of the training, .*pictures .8x8 gray, crop., got .*moved .8x8 gray, squash."
    with pytest.raises(ValueError, match=expected):
        resumed_training(tmp_path, images=squashed, model="row", conditional=True)


def test_a_training_on_other_data_is_not_resumed(tmp_path):
    """A checkpoint of an older version does not list its files, and its splits depend on the number of files."""
    loaded = load(write_named_pictures(tmp_path / "pictures"))
    training = tiny_training(tmp_path, loaded, "row")
    training.save()
    last = tmp_path / checkpoint.LAST
    tensors, facts = checkpoint.load(last)
    del facts["data"]["folder"]
    for name, message in (
        ("folder", "expected a checkpoint that names the files it was trained on, got one of an earlier version"),
        ("digits", "expected the data of the training, digits, got .*pictures"),
    ):
        facts["data"] |= {"name": name, "description": name}
        checkpoint.save(last, tensors, facts)
        with pytest.raises(ValueError, match=message):
            training.resume(last)


def test_processes_must_see_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "_agree", lambda self, digest, error: [digest, "of other files"])
    loaded = load(write_named_pictures(tmp_path))
    with pytest.raises(ProcessError, match="expected the same files in .* in all processes, got another in process 1"):
        tiny_training(tmp_path, loaded, world=World(0, 2, SINGLE_PROCESS.device, object()))


def test_other_data_is_found_as_before(tmp_path, monkeypatch):
    """An older checkpoint may name its data set by a relative path."""
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
