import os
import re
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from helpers.pictures import names_in
from helpers.tiny import save_untrained, tiny_checkpoint, tiny_data
from pixelrnn_ext import cli, codec, models
from pixelrnn_ext.cli import coding
from pixelrnn_ext.cli import compress as command
from pixelrnn_ext.codec import container
from pixelrnn_ext.training import data
from pixelrnn_ext.training.checkpoint import load_model

from .command_line import error_of, pixelrnn

# (height, width) of each picture. Successive pictures of one size are compressed together.
SIZES = [(4, 5), (4, 5), (1, 7), (4, 5)]


def write_pictures(folder, levels=2, channels=1, sizes=SIZES):
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


@pytest.fixture(autouse=True)
def cwd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(cwd):
    return tiny_checkpoint(cwd / "model")


@pytest.fixture
def file(model, cwd):
    write_pictures(cwd / "pictures")
    pixelrnn("compress model pictures -o file")
    return cwd / "file"


@pytest.mark.parametrize(("levels", "channels"), [(2, 1), (17, 1), (256, 1), (2, 3), (5, 3), (256, 3)])
def test_pictures_come_back(cwd, capsys, levels, channels):
    tiny_checkpoint(cwd / "model", levels, channels)
    pictures = write_pictures(cwd / "pictures", levels, channels)
    pixelrnn("compress model", "pictures/picture 3.png", "pictures", "--out", "file")
    pixelrnn("decompress model file --out out")
    values = channels * sum(height * width for height, width in [SIZES[3], *SIZES])
    size = (cwd / "file").stat().st_size
    printed = capsys.readouterr()
    compressed, decompressed = printed.out.splitlines()
    above = r"(\d+ bytes|\d\.\d\d %) above the likelihood"
    before = sum(Path(f"pictures/picture {i}.png").stat().st_size for i in (3, 0, 1, 2, 3))
    of_input = f"{100 * size / before:.1f} % of {before} bytes of 5 files"
    found = re.fullmatch(rf"5 images, {size} bytes, (\d+\.\d{{4}}) bits/dim, {above}, {of_input}", compressed)
    assert found and abs(float(found[1]) - 8 * size / values) < 1e-4
    assert decompressed == "5 images: out" and printed.err == ""
    assert names_in(cwd / "out") == [f"{i}.png" for i in range(5)]
    for i, expected in enumerate([pictures[3], *pictures]):
        assert numpy.array_equal(pixels_of(f"out/{i}.png"), expected)


def test_the_likelihood_is_that_of_the_model(cwd, capsys, monkeypatch):
    """The command prints no likelihood if an image has more than ``PIXELS_PER_PASS`` pixels."""
    write_pictures(cwd / "pictures", 256)
    model, facts = load_model(tiny_checkpoint(cwd / "model", 256))
    groups = coding.read(["pictures"], model, facts, 10**6)
    assert [tuple(group.images.shape) for group in groups] == [(2, 1, 4, 5), (1, 1, 1, 7), (1, 1, 4, 5)]
    with torch.no_grad():
        bits = -sum(float(model.double().log_prob(group.images).sum()) for group in groups) / numpy.log(2)
    lines = []
    for pixels in (2**18, 20, 19):
        monkeypatch.setattr(command, "PIXELS_PER_PASS", pixels)
        pixelrnn("compress model pictures -o file")
        lines.append(capsys.readouterr().out.strip())
    more = (cwd / "file").stat().st_size - bits / 8
    without, of_input = lines[2].rsplit(", ", 1)
    assert lines[0] == lines[1] == f"{without}, {more:.0f} bytes above the likelihood, {of_input}"


@pytest.mark.parametrize(
    ("size", "expected", "said"),
    [
        (1050, 1000.0, "5.00 % above"),
        (1051, 1000.0, "51 bytes above"),
        (949, 1000.0, "51 bytes below"),
        (1000, 1000.0, "0.00 % above"),
        (6, 5.2, "1 byte above"),
        (27, 0.0, "27 bytes above"),
    ],
)
def test_how_a_size_is_beside_the_likelihood(size, expected, said):
    assert command._versus_likelihood(size, expected) == f"{said} the likelihood"


def test_a_file_that_is_larger_than_its_input(cwd, capsys, trained):
    """A data set has no files of single pictures, so its input is the pixels as packed bits."""
    tiny_checkpoint(cwd / "model")
    cwd.joinpath("one.pgm").write_bytes(b"P5 7 1 255\n" + bytes(7))
    pixelrnn("compress model one.pgm -o file")
    size = (cwd / "file").stat().st_size
    expected = f"{100 * size / 18:.1f} % of 18 bytes of 1 file: the file is larger than its input"
    assert size > 18 and capsys.readouterr().out.endswith(f", {expected}\n")
    pixelrnn("compress -o file", trained[0], "digits:test")
    size, packed = (cwd / "file").stat().st_size, 176 * 64 * 5 // 8
    printed = capsys.readouterr().out
    assert printed.endswith(f", {100 * size / packed:.1f} % of {packed} bytes of pixels as packed bits\n")


def label_options(labels):
    return [word for label in labels.split() for word in ("--label", label)]


# {case: (images to compress, labels that the command `compress` needs, wrong labels)}. A split of a data set has its
# own labels, so it needs no others.
LABELLED = {
    "a split": ("digits:test", "", "3"),
    "one for all": ("pictures", "4", "3"),
    "two splits": ("digits:validation digits:test", "", "digits:test digits:validation"),
    "a split and pictures": ("digits:test pictures", "digits:test 1 2 7 1", "digits:test 1 2 7 2"),
}


@pytest.mark.parametrize("kind", LABELLED)
def test_a_conditional_model_needs_the_labels_again(trained, cwd, capsys, kind):
    images, labels, wrong = LABELLED[kind]
    right = label_options(labels or images)
    pictures = write_pictures(cwd / "pictures", 17)
    compress, decompress = f"compress {trained[0]} {images} -o file", f"decompress {trained[0]} file -o out"
    missing = "expected --label, a class of 0, .*, 9, got none$"
    if labels:
        assert re.search(missing, error_of(capsys, compress))
    pixelrnn(compress, *label_options(labels))
    assert re.search(missing, error_of(capsys, decompress))
    other = error_of(capsys, decompress, *label_options(wrong))
    assert re.search("file cannot be decoded: .*(stream|checksum)", other) and "out" not in names_in(cwd)
    pixelrnn(decompress, *right)
    expected = []
    for name in images.split():
        split = None if name == "pictures" else data.load("digits").splits[name.removeprefix("digits:")]
        expected += pictures if split is None else list((split.images[:, 0] * (255 / 16)).round().numpy())
    digits = len(str(len(expected) - 1))
    assert names_in(cwd / "out") == [f"{i:0{digits}}.png" for i in range(len(expected))]
    for i, pixels in enumerate(expected):
        assert (pixels_of(f"out/{i:0{digits}}.png") == pixels).all()
    again = f"compress {trained[0]} out -o again"
    assert re.search(missing, error_of(capsys, again))
    pixelrnn(again, *right)
    assert (cwd / "again").read_bytes() == (cwd / "file").read_bytes()


@pytest.mark.parametrize("images", ["digits:test", "digits:validation digits:test", "pictures digits:test"])
def test_groups_of_a_few_images(trained, cwd, capsys, monkeypatch, images):
    """Groups change the file, but neither the images nor the labels."""
    write_pictures(cwd / "pictures", 17)
    labels = label_options(images.replace("pictures", "1 2 7 1"))
    given = labels if "pictures" in images else []
    pixelrnn(f"compress {trained[0]} {images} -o whole", *given)
    monkeypatch.setattr(coding, "VALUES_PER_GROUP", 64 * 50)
    pixelrnn(f"compress {trained[0]} {images} -o divided --streams 2", *given)
    groups = [container.read((cwd / name).read_bytes()).groups for name in ("whole", "divided")]
    whole, divided = ([group.images for group in found] for found in groups)
    assert sum(whole) == sum(divided) and max(divided) == 50 and len(divided) == len(whole) - 1 + -(-whole[-1] // 50)
    for name in ("whole", "divided"):
        pixelrnn(f"decompress {trained[0]} {name} -o {name}-images", *labels)
    assert names_in(cwd / "whole-images") == names_in(cwd / "divided-images")
    for name in names_in(cwd / "whole-images"):
        assert (cwd / "whole-images" / name).read_bytes() == (cwd / "divided-images" / name).read_bytes()


@pytest.mark.parametrize(
    ("values", "expected"), [(1, [1] * 6), (39, [1] * 6), (40, [2, 2, 1, 1]), (1000, [5, 1])], ids=str
)
def test_pictures_are_joined_to_groups(model, cwd, monkeypatch, values, expected):
    monkeypatch.setattr(coding, "VALUES_PER_GROUP", values)
    write_pictures(cwd / "pictures", sizes=[*[(4, 5)] * 5, (1, 7)])
    groups = coding.read(["pictures"], *load_model(model), 10**6)
    assert [len(group) for group in groups] == expected


LABELS = "expected labels of 4 images, or one class for all, got"
SPLIT = "expected a split of a data set, such as digits:test, got"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1 2 7", f"{LABELS} 3$"),
        ("digits:test", f"{LABELS} 176$"),
        ("1 two 7 1", "expected a class of 0, .*, 9, got 'two'$"),
        ("1 digits:two", f"{SPLIT} digits:two$"),
    ],
)
def test_labels_that_are_not_those_of_the_images(trained, cwd, capsys, labels, message):
    write_pictures(cwd / "pictures", 17)
    pixelrnn("compress", trained[0], "pictures", "-o", "file", "--label", "1")
    for name, images in (("compress", "pictures"), ("decompress", "file")):
        sentence = error_of(capsys, name, trained[0], images, "-o", "out", *label_options(labels))
        assert re.search(message, sentence), sentence
    assert not (cwd / "out").exists()


def test_a_path_that_is_there_goes_before_a_split(model, capsys):
    Image.fromarray(numpy.eye(4, dtype=bool)).save("digits:test", "PNG")
    pixelrnn("compress model digits:test -o file")
    pixelrnn("decompress model file -o out")
    compressed, decompressed = capsys.readouterr().out.splitlines()
    assert compressed.startswith("1 image, ") and decompressed == "1 image: out"


def test_streams_make_another_file_of_the_same_images(file, cwd):
    out = cwd / "out"
    out.mkdir(0o750)
    pixelrnn("compress model pictures -o other --streams 2")
    assert (cwd / "other").stat().st_size > file.stat().st_size
    pixelrnn("decompress model other -o out")
    assert names_in(out) == [f"{i}.png" for i in range(4)] and out.stat().st_mode & 0o777 == 0o750


@pytest.fixture
def other_files(file, cwd):
    """Writes files for commands that must fail.

    The files are two models that did not compress ``file``, a damaged file, and pictures.
    """
    tiny_checkpoint(cwd / "another-model", hidden_channels=2)
    tiny_checkpoint(cwd / "deep-model", 300)
    (cwd / "damaged").write_bytes(file.read_bytes()[:-1] + b"\0")
    for folder in ("empty", "broken"):
        (cwd / folder).mkdir()
    (cwd / "broken" / "link.png").symlink_to("link.png")
    (cwd / "text").write_text("not an image")
    Image.fromarray(numpy.full((2, 2), 7, numpy.uint8)).save("gray", "PNG")
    Image.new("RGB", (2, 2), "red").save("colours", "PNG")
    Image.fromarray(numpy.eye(4, dtype=bool)).save("bits", "PNG")


NO_PICTURES = "expected a model of 1 or 3 channels and at most 256 levels"
NO_LABEL = "expected no label for a model without classes, got"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("compress model new", "expected a picture, a folder of pictures or a split .*, got new$"),
        ("compress model digits", f"{SPLIT} digits$"),
        ("compress model digits:tests", f"{SPLIT} digits:tests$"),
        ("compress model digits:test", "expected images with 1 channels and 2 levels, .*, got 1 and 17 of digits"),
        ("compress model folder:empty:test", "expected the path of a folder alone, .* got folder:empty:test"),
        ("compress model mnist5k:empty:test", "expected mnist5k without a path"),
        ("compress model empty", "expected pictures in empty, got none"),
        ("compress model broken", "expected pictures that can be read, got broken/link.png: "),
        ("compress model gray", "gray cannot be kept exactly: expected the 2 bytes .*, got 7"),
        ("compress model colours", "colours cannot be kept exactly: expected one gray picture .*, got RGB whose"),
        ("compress model text", "text cannot be read as an image: it is of no format"),
        ("compress model gray --max-pixels 3", "gray cannot be read as an image: expected at most 3 pixels, .*, got 4"),
        ("compress model bits --label 3", f"{NO_LABEL} '3'"),
        ("compress model bits --label digits:test", f"{NO_LABEL} 'digits:test'"),
        ("compress deep-model bits", NO_PICTURES),
        ("decompress deep-model file", NO_PICTURES),
        ("decompress another-model file", "file cannot be decoded: expected a file that was written with this model"),
        ("decompress model damaged", "damaged cannot be decoded: the file is damaged or not complete: its checksum"),
        ("decompress model new", "new: No such file or directory"),
        ("decompress model file --max-bytes 100", "file cannot be decoded: .* within --max-bytes 100, got one of 2"),
        ("decompress model file --label even", f"{NO_LABEL} 'even'"),
    ],
)
def test_what_does_not_fit_is_refused(other_files, cwd, capsys, command, message):
    sentence = error_of(capsys, command, "-o", "out")
    assert re.match(message, sentence), sentence
    assert not (cwd / "out").exists()


def test_the_label_of_a_split_of_one_image_is_not_that_of_all(cwd, capsys, monkeypatch):
    images = tiny_data()
    test = images.splits["test"]
    images.splits["test"] = data.Split(test.images[:1], test.labels[:1])
    monkeypatch.setattr(data, "load", lambda spec: images)
    tiny_checkpoint(cwd / "model", classes=images.classes)
    write_pictures(cwd / "pictures")
    assert error_of(capsys, "compress model pictures -o file --label digits:test") == f"{LABELS} 1"


def test_the_classes_of_a_split_are_those_of_the_training(cwd, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda spec: tiny_data())
    tiny_checkpoint(cwd / "model", classes=("even", "falling", "rising"))
    sentence = error_of(capsys, "compress model digits:test -o file")
    assert sentence.startswith("expected the classes of the training, even, falling, rising, got falling")


def test_verify_writes_nothing_that_is_decoded_to_other_images(file, capsys, monkeypatch):
    decode, before = codec.Codec.iterate_groups, file.read_bytes()

    def others(*arguments, **options):
        for number, group in enumerate(decode(*arguments, **options)):
            group[-1, 0, 0, 0] ^= number == 0
            yield group

    monkeypatch.setattr(codec.Codec, "iterate_groups", others)
    compress = ["compress model -o file", "pictures/picture 2.png", "pictures/picture 3.png"]
    for verifying in ([], ["--verify"]):
        sentence = error_of(capsys, *compress, *verifying)
        assert "expected to decode the same images" in sentence and file.read_bytes() == before
    pixelrnn(*compress, "--no-verify")
    assert file.read_bytes() != before


def test_nothing_is_printed_behind_a_file_on_the_standard_output(file, cwd, capfdbinary):
    pixelrnn("compress model pictures -o -")
    printed = capfdbinary.readouterr()
    assert printed.out == file.read_bytes() and printed.err.startswith(b"4 images, ")
    before = os.dup(0)
    try:
        with open(file, "rb") as stream:
            os.dup2(stream.fileno(), 0)
        pixelrnn("decompress model - -o out")
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert len(names_in(cwd / "out")) == 4 and "-" not in names_in(cwd)


@pytest.mark.parametrize(
    ("name", "place", "function"),
    [
        ("compress", codec.Codec, "compress"),
        ("compress", codec.Codec, "iterate_groups"),
        ("compress", command, "_likelihood"),
        ("compress", os, "fsync"),
        ("decompress", codec.Codec, "iterate_groups"),
        ("decompress", Path, "write_bytes"),
        ("decompress", os, "fsync"),
    ],
)
def test_ctrl_c_leaves_nothing(file, cwd, capsys, interrupt, name, place, function):
    before = {path: path.stat().st_mtime_ns for path in cwd.iterdir()}
    interrupt(place, function)
    assert cli.main([name, "model", "pictures" if name == "compress" else "file", "-o", "new"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert {path: path.stat().st_mtime_ns for path in cwd.iterdir()} == before


NEW = "be a new or an empty folder"
NO_PLACES = {
    "a file": (lambda out: out.write_text("x"), NEW),
    "a folder with something": (lambda out: (out / "a").mkdir(parents=True), NEW),
    "a broken link": (lambda out: out.symlink_to("nothing"), NEW),
    "the current folder": (lambda out: out.mkdir() or os.chdir(out), "be a folder that can be replaced"),
    "no/folder": (lambda out: None, "name a folder in one that exists"),
}


@pytest.mark.parametrize("kind", NO_PLACES)
def test_where_no_folder_is_made(file, cwd, capsys, monkeypatch, kind):
    # The command must refuse the output folder before it decodes.
    monkeypatch.setattr(codec.Codec, "iterate_groups", None)
    out, (make, expected) = cwd / kind, NO_PLACES[kind]
    make(out)
    before = names_in(cwd)
    sentence = error_of(capsys, "decompress", cwd / "model", file, "-o", out)
    assert sentence == f"expected --out to {expected}, got {out}"
    assert names_in(cwd) == before


def test_a_file_of_no_images_is_an_empty_folder(model, cwd):
    (cwd / "file").write_bytes(codec.Codec(load_model(model)[0]).compress(torch.zeros(0, 1, 4, 5).long()))
    pixelrnn("decompress model file -o out")
    assert names_in(cwd / "out") == []


def test_a_picture_that_a_multi_scale_model_cannot_take_is_named(cwd, capsys):
    sizes = dict(image_channels=1, levels=17, hidden_channels=1, num_layers=1, head_channels=1)
    save_untrained(cwd / "model", models.MultiScalePixelRNN("row", **sizes), [1, 4, 6])
    write_pictures(cwd / "pictures", 17, sizes=[(4, 6), (5, 6), (4, 6)])
    expected = "pictures/picture 1.png cannot be compressed: expected H and W to be multiples of factor 2, got 5 x 6"
    assert error_of(capsys, "compress model pictures -o file") == expected
