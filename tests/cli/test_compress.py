"""``pixelrnn compress`` and ``decompress``: the same pixels, or a sentence and nothing written."""

import os
import re
import signal
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from helpers.folders import names_in
from helpers.tiny import save_untrained, tiny_checkpoint, tiny_data
from pixelrnn_ext import cli, codec, models
from pixelrnn_ext.cli import coding
from pixelrnn_ext.cli import compress as command
from pixelrnn_ext.training import data
from pixelrnn_ext.training.checkpoint import load_model

from .command_line import pixelrnn, refused

SIZES = [(4, 5), (4, 5), (1, 7), (4, 5)]  # of pictures, which make three groups


def write_pictures(folder, levels=2, channels=1, sizes=SIZES):
    """Random ones, and their pixels."""
    folder.mkdir()
    random, pictures = numpy.random.default_rng(0), []
    for i, (height, width) in enumerate(sizes):
        values = random.integers(0, levels, (height, width) if channels == 1 else (height, width, channels))
        pictures.append(numpy.round(values * 255 / (levels - 1)).astype(numpy.uint8))
        Image.fromarray(pictures[-1]).save(folder / f"picture {i}.png")
    return pictures


def pixels_of(file):
    with Image.open(file) as picture:
        return numpy.array(picture.convert("L") if picture.mode == "1" else picture)


@pytest.fixture
def model(tmp_path):
    return tiny_checkpoint(tmp_path / "model.safetensors")


@pytest.fixture
def file(model, tmp_path):
    """Of four pictures in ``tmp_path / "pictures"``."""
    write_pictures(tmp_path / "pictures")
    pixelrnn("compress", model, tmp_path / "pictures", "-o", tmp_path / "file")
    return tmp_path / "file"


@pytest.mark.parametrize(("levels", "channels"), [(2, 1), (17, 1), (256, 1), (2, 3), (5, 3), (256, 3)])
def test_pictures_come_back(tmp_path, capsys, levels, channels):
    checkpoint = tiny_checkpoint(tmp_path / "model.safetensors", levels, channels)
    pictures = write_pictures(tmp_path / "pictures", levels, channels)
    file, out, folder = tmp_path / "file", tmp_path / "out", tmp_path / "pictures"
    pixelrnn("compress", checkpoint, folder / "picture 3.png", folder, "--out", file)
    pixelrnn("decompress", checkpoint, file, "--out", out)
    values = channels * sum(height * width for height, width in [SIZES[3], *SIZES])
    size = file.stat().st_size
    printed = capsys.readouterr()
    compressed, decompressed = printed.out.splitlines()
    above = r"(\d+ bytes|\d\.\d\d %) above the likelihood"
    found = re.fullmatch(rf"5 images, {size} bytes, (\d+\.\d{{4}}) bits/dim, {above}", compressed)
    assert found and abs(float(found[1]) - 8 * size / values) < 1e-4
    assert decompressed == f"5 images: {out}" and printed.err == ""
    assert names_in(out) == [f"{i}.png" for i in range(5)]
    for i, expected in enumerate([pictures[3], *pictures]):
        assert numpy.array_equal(pixels_of(out / f"{i}.png"), expected)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_a_gray_picture_without_a_gray_mode(tmp_path, capsys, kind):
    """It comes back as gray PNG; one image is said to be one."""
    checkpoint, gray = tiny_checkpoint(tmp_path / "model.safetensors", 256), numpy.uint8([[9, 0, 99], [7, 255, 8]])
    picture = Image.fromarray(gray).convert("RGB")
    (picture if kind == "WEBP" else picture.quantize(8)).save(tmp_path / "x", kind, lossless=True)
    pixelrnn("compress", checkpoint, tmp_path / "x", "-o", tmp_path / "file")
    pixelrnn("decompress", checkpoint, tmp_path / "file", "-o", tmp_path / "out")
    assert numpy.array_equal(pixels_of(tmp_path / "out" / "0.png"), gray)
    compressed, decompressed = capsys.readouterr().out.splitlines()
    assert compressed.startswith(f"1 image, {(tmp_path / 'file').stat().st_size} bytes, ")
    assert decompressed == f"1 image: {tmp_path}/out"


def test_the_likelihood_is_that_of_the_model(tmp_path, capsys, monkeypatch):
    """In batches of few pixels, too; images that are too large for a pass have none."""
    checkpoint = tiny_checkpoint(tmp_path / "model.safetensors", 256)
    write_pictures(tmp_path / "pictures", 256)
    model, facts = load_model(checkpoint)
    groups = coding.read([str(tmp_path / "pictures")], model, facts, 10**6)
    assert [tuple(group.images.shape) for group in groups] == [(2, 1, 4, 5), (1, 1, 1, 7), (1, 1, 4, 5)]
    with torch.no_grad():
        bits = -sum(float(model.double().log_prob(group.images).sum()) for group in groups) / numpy.log(2)
    lines = []
    for pixels in (2**18, 20, 19):
        monkeypatch.setattr(command, "PIXELS", pixels)
        pixelrnn("compress", checkpoint, tmp_path / "pictures", "-o", tmp_path / "file")
        lines.append(capsys.readouterr().out.strip())
    more = (tmp_path / "file").stat().st_size - bits / 8
    assert lines[0] == lines[1] == f"{lines[2]}, {more:.0f} bytes above the likelihood"


@pytest.mark.parametrize(
    ("size", "expected", "said"),
    [
        (1050, 1000.0, "5.00 % above"),
        (1051, 1000.0, "51 bytes above"),
        (999, 1000.0, "0.10 % below"),
        (949, 1000.0, "51 bytes below"),
        (1000, 1000.0, "0.00 % above"),
        (6, 5.2, "1 byte above"),
        (27, 0.0, "27 bytes above"),
    ],
)
def test_how_a_size_is_beside_the_likelihood(size, expected, said):
    assert command._beside_likelihood(size, expected) == f"{said} the likelihood"


def given(*labels):
    return [word for label in labels for word in ("--label", label)]


# The images, the labels that compress needs, and labels of other images. Those of a split are known.
LABELLED = {
    "a split": ("digits:test", "", "3"),
    "one for all": ("pictures", "4", "3"),
    "two splits": ("digits:validation digits:test", "", "digits:test digits:validation"),
    "a split and pictures": ("digits:test pictures", "digits:test 1 2 7 1", "digits:test 1 2 7 2"),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_a_conditional_model_needs_the_labels_again(trained, tmp_path, capsys, monkeypatch, kind):
    """In the order of the images. Those of a split are known only where all images have theirs."""
    monkeypatch.chdir(tmp_path)
    model, (images, labels, wrong) = trained[0], (words.split() for words in LABELLED[kind])
    right = labels or images
    pictures = write_pictures(tmp_path / "pictures", 17)
    missing = r"expected --label, a class of 0, .*, 9, got none$"
    if labels:
        assert re.search(missing, refused(capsys, "compress", model, *images, "-o", "file"))
    pixelrnn("compress", model, *images, "-o", "file", *given(*labels))
    assert re.search(missing, refused(capsys, "decompress", model, "file", "-o", "out"))
    other = refused(capsys, "decompress", model, "file", "-o", "out", *given(*wrong))
    assert re.search("file cannot be decoded: .*(stream|checksum)", other) and "out" not in names_in(tmp_path)
    pixelrnn("decompress", model, "file", "-o", "out", *given(*right))
    expected = []
    for name in images:
        split = None if name == "pictures" else data.load("digits").splits[name.removeprefix("digits:")]
        expected += pictures if split is None else list((split.images[:, 0] * (255 / 16)).round().numpy())
    digits = len(str(len(expected) - 1))
    assert names_in(tmp_path / "out") == [f"{i:0{digits}}.png" for i in range(len(expected))]
    for i, pixels in enumerate(expected):
        assert (pixels_of(tmp_path / "out" / f"{i:0{digits}}.png") == pixels).all()
    assert re.search(missing, refused(capsys, "compress", model, "out", "-o", "again"))
    pixelrnn("compress", model, "out", "-o", "again", *given(*right))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1", "2", "7"], "expected labels of 4 images, or one class for all, got 3$"),
        (["1", "2", "7", "1", "2"], "expected labels of 4 images, or one class for all, got 5$"),
        (["digits:test"], "expected labels of 4 images, or one class for all, got 176$"),
        (["1", "two", "7", "1"], "expected a class of 0, .*, 9, got 'two'$"),
        (["1", "digits:two"], "expected a split of a data set, such as digits:test, got digits:two$"),
    ],
    ids=["too few", "too many", "a split of more", "a wrong class", "no split"],
)
def test_labels_that_are_not_those_of_the_images(trained, tmp_path, capsys, labels, message):
    run, pictures, out, file = trained[0], tmp_path / "pictures", tmp_path / "out", tmp_path / "file"
    write_pictures(pictures, 17)
    pixelrnn("compress", run, pictures, "-o", file, "--label", "1")
    for words in (["compress", run, pictures], ["decompress", run, file]):
        sentence = refused(capsys, *words, "-o", out, *given(*labels))
        assert re.search(message, sentence), sentence
    assert not out.exists()


def test_a_path_that_is_there_goes_before_a_split(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(numpy.eye(4, dtype=bool)).save("digits:test", "PNG")
    pixelrnn("compress", model, "digits:test", "-o", "file")
    assert capsys.readouterr().out.startswith("1 image, ")


def test_streams_and_batches(file, model, tmp_path):
    """Streams make another file of the same images; batches do not."""
    other, sizes = tmp_path / "other", []
    for more in (["--batch-size", "1"], ["--streams", "2"]):
        pixelrnn("compress", model, tmp_path / "pictures", "-o", other, *more)
        sizes.append(other.stat().st_size)
        assert (other.read_bytes() == file.read_bytes()) == (more[0] == "--batch-size")
    assert sizes[0] < sizes[1]
    pixelrnn("decompress", model, other, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("{new}", "expected a picture, a folder of pictures or a split .*, got {new}, which is none of them"),
        ("digits", "expected a split of a data set, such as digits:test, got digits"),
        ("digits:tests", "expected a split of a data set, such as digits:test, got digits:tests"),
        ("digits:test", "expected images with 1 channels and 2 levels, as the model has, got 1 and 17 of digits"),
        ("folder:{tmp}:test", "expected the path of a folder alone, .* got folder:{tmp}:test"),
        ("mnist5k:{tmp}:test", "expected mnist5k without a path"),
        ("{empty}", "expected pictures in {empty}, got none"),
        ("{broken}", "expected pictures that can be read, got {broken}/link.png: "),
        ("{gray}", "{gray} cannot be kept exactly: expected the 2 bytes .*, got 7"),
        ("{colours}", "{colours} cannot be kept exactly: expected one gray picture .*, got RGB whose channels differ"),
        ("{text}", "{text} cannot be read as an image: it is of no format"),
        ("{gray} --max-pixels 3", "{gray} cannot be read as an image: expected at most 3 pixels, .*, got 4"),
        ("{bits} --label 3", "expected no label for a model without classes, got '3'"),
        ("{bits} --streams 2 --label digits:test", "expected no label for a model without classes, got 'digits:test'"),
    ],
)
def test_what_is_not_compressed(model, tmp_path, capsys, images, message):
    paths = {name: tmp_path / name for name in ("new", "empty", "broken", "gray", "colours", "bits", "text")}
    paths["tmp"] = tmp_path
    for folder in ("empty", "broken"):
        paths[folder].mkdir()
    (paths["broken"] / "link.png").symlink_to("link.png")
    paths["text"].write_text("not an image")
    Image.fromarray(numpy.full((2, 2), 7, numpy.uint8)).save(paths["gray"], "PNG")
    Image.new("RGB", (2, 2), "red").save(paths["colours"], "PNG")
    Image.fromarray(numpy.eye(4, dtype=bool)).save(paths["bits"], "PNG")
    sentence = refused(capsys, "compress", model, *images.format(**paths).split(), "-o", tmp_path / "file")
    assert re.search(message.format(**paths), sentence), sentence
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another model", "file cannot be decoded: expected a file that was written with this model, .* got one of"),
        ("damaged", "file cannot be decoded: the file is damaged or not complete: its checksum does not fit"),
        ("short", "file cannot be decoded: the file is damaged or not complete"),
        ("another file", "file cannot be decoded: expected a file of this codec, got another one"),
        ("nothing", "file: No such file or directory"),
        ("large", "cannot be decoded: expected a file that decodes within --max-bytes 100, got one of 2 images of"),
        ("label", "expected no label for a model without classes, got 'even'"),
    ],
)
def test_what_is_not_decompressed(file, model, tmp_path, capsys, kind, message):
    content, more = file.read_bytes(), {"large": ["--max-bytes", "100"], "label": ["--label", "even"]}.get(kind, [])
    if kind == "another model":
        model = tiny_checkpoint(tmp_path / "other.safetensors", hidden_channels=2)
    elif kind == "nothing":
        file.unlink()
    else:
        changed = {"damaged": content[:-1] + b"\0", "short": content[:-1], "another file": b"PNG" + content}
        file.write_bytes(changed.get(kind, content))
    sentence = refused(capsys, "decompress", model, file, "-o", tmp_path / "out", *more)
    assert re.search(message, sentence), sentence
    assert not (tmp_path / "out").exists()


def test_the_memory_that_a_file_needs(file, model, tmp_path, capsys):
    """Just that is accepted."""
    decompressing = ["decompress", model, file, "-o", tmp_path / "out", "--max-bytes"]
    sentence = refused(capsys, *decompressing, 100)
    needed = int(re.search(r", which needs (\d+)$", sentence)[1])
    assert f"--max-bytes {needed - 1}, got" in refused(capsys, *decompressing, needed - 1)
    pixelrnn(*decompressing, needed)


def test_a_model_whose_images_are_no_pictures(tmp_path, capsys):
    model = tiny_checkpoint(tmp_path / "model.safetensors", 300)
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    expected = "expected a model of 1 or 3 channels and at most 256 levels"
    assert expected in refused(capsys, "compress", model, tmp_path / "x.png", "-o", tmp_path / "file")
    assert expected in refused(capsys, "decompress", model, "file", "-o", tmp_path / "out")


def test_the_labels_of_a_split_are_of_its_classes_and_each_of_one_image(tmp_path, capsys, monkeypatch):
    images = tiny_data()
    monkeypatch.setattr(data, "load", lambda spec: images)
    model = tiny_checkpoint(tmp_path / "model.safetensors", classes=("even", "falling", "rising"))
    sentence = refused(capsys, "compress", model, "digits:test", "-o", tmp_path / "file")
    assert "expected the classes of the training, even, falling, rising, got falling, rising, even" in sentence
    model = tiny_checkpoint(tmp_path / "model.safetensors", classes=images.classes)
    write_pictures(tmp_path / "pictures")
    for count in (5, 1):  # the label of a split of one image is not that of all
        part = images.splits["test"]
        images.splits["test"] = data.Split(part.images[:count], part.labels[:count])
        compress = ["compress", model, tmp_path / "pictures", "-o", tmp_path / "file", "--label", "digits:test"]
        assert refused(capsys, *compress) == f"expected labels of 4 images, or one class for all, got {count}"


def test_verify_writes_nothing_that_is_decoded_to_other_images(file, model, tmp_path, capsys, monkeypatch):
    decompress, before = codec.Codec.decompress_groups, file.read_bytes()

    def others(*arguments, **options):
        groups = decompress(*arguments, **options)
        groups[-1][0, 0, 0, 0] ^= 1
        return groups

    monkeypatch.setattr(codec.Codec, "decompress_groups", others)
    words = ["compress", model, tmp_path / "pictures" / "picture 2.png", "-o", file]
    for verifying in ([], ["--verify"]):  # the default, too
        sentence = refused(capsys, *words, *verifying)
        assert "expected the same images" in sentence and file.read_bytes() == before
    pixelrnn(*words, "--no-verify")
    assert file.read_bytes() != before


def test_a_file_into_a_device(file, model, tmp_path, capfdbinary):
    """The standard output, behind which nothing else is printed."""
    pixelrnn("compress", model, tmp_path / "pictures", "-o", "/dev/stdout")
    printed = capfdbinary.readouterr()
    assert printed.out == file.read_bytes() and printed.err.startswith(b"4 images, ")


def interrupted(*_, **__):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("name", "place", "function"),
    [
        ("compress", codec.Codec, "compress"),
        ("compress", codec.Codec, "decompress_groups"),
        ("compress", command, "_likelihood"),
        ("compress", os, "fsync"),
        ("decompress", codec.Codec, "decompress_groups"),
        ("decompress", Path, "write_bytes"),
        ("decompress", os, "fsync"),
    ],
)
def test_ctrl_c_leaves_nothing(file, model, tmp_path, capsys, monkeypatch, name, place, function):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, function, interrupted)
    assert cli.main([name, str(model), "pictures" if name == "compress" else "file", "-o", "new"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


NO_PLACES = {
    "a file": (lambda out: out.write_text("x"), "be a folder that is not there, or empty"),
    "a folder with something": (lambda out: (out / "a").mkdir(parents=True), "be a folder that is not there, or empty"),
    "a circle": (lambda out: out.symlink_to(out), "be a folder that is not there, or empty"),
    "a broken link": (lambda out: out.symlink_to("nothing"), "be a folder that is not there, or empty"),
    "the current folder": (lambda out: out.mkdir() or os.chdir(out), "be a folder that can be replaced"),
    "no/folder": (lambda out: None, "name a folder in one that exists"),
}


@pytest.mark.parametrize("kind", NO_PLACES)
def test_where_no_folder_is_made(file, model, tmp_path, capsys, monkeypatch, kind):
    """Before anything is decoded."""
    monkeypatch.chdir(tmp_path)  # and back
    monkeypatch.setattr(codec.Codec, "decompress_groups", None)
    out, (make, expected) = tmp_path / kind, NO_PLACES[kind]
    make(out)
    before = names_in(tmp_path)
    assert refused(capsys, "decompress", model, file, "-o", out) == f"expected --out to {expected}, got {out}"
    assert names_in(tmp_path) == before


def test_an_empty_folder_is_taken(file, model, tmp_path):
    (tmp_path / "out").mkdir(0o750)
    pixelrnn("decompress", model, file, "-o", tmp_path / "out")
    assert names_in(tmp_path / "out") == [f"{i}.png" for i in range(4)]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_a_file_of_no_images_is_an_empty_folder(model, tmp_path):
    (tmp_path / "file").write_bytes(codec.Codec(load_model(model)[0]).compress(torch.zeros(0, 1, 4, 5).long()))
    pixelrnn("decompress", model, tmp_path / "file", "-o", tmp_path / "out")
    assert names_in(tmp_path / "out") == []


def test_a_picture_that_a_multi_scale_model_cannot_take_is_named(tmp_path, capsys):
    sizes = dict(image_channels=1, levels=17, hidden_channels=1, num_layers=1, head_channels=1)
    model = models.MultiScalePixelRNN("row", **sizes)
    save_untrained(tmp_path / "model", model, [1, 4, 6])
    write_pictures(tmp_path / "pictures", 17, sizes=[(4, 6), (5, 6), (4, 6)])
    sentence = refused(capsys, "compress", tmp_path / "model", tmp_path / "pictures", "-o", tmp_path / "file")
    picture = tmp_path / "pictures" / "picture 1.png"
    expected = "expected H and W to be multiples of factor 2, got 5 x 6"
    assert sentence == f"{picture} cannot be compressed: {expected}"
