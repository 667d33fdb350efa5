"""``pixelrnn compress`` and ``decompress``: the same pixels, or a sentence and nothing written."""

import errno
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from helpers.tiny import save_untrained, tiny_checkpoint, tiny_data
from pixelrnn_ext import cli, codec, models
from pixelrnn_ext.cli import coding
from pixelrnn_ext.cli import compress as command
from pixelrnn_ext.training import data
from pixelrnn_ext.training.checkpoint import load_model

from .command_line import refused

SIZES = [(4, 5), (4, 5), (1, 7), (4, 5)]  # of pictures, which make three groups


def write_pictures(folder, levels=2, channels=1, sizes=SIZES):
    """Random ones, and their pixels."""
    folder.mkdir()
    random, pictures = numpy.random.default_rng(0), []
    for i, (height, width) in enumerate(sizes):
        values = random.integers(0, levels, (height, width, channels))
        pictures.append(
            numpy.round(values * 255 / (levels - 1)).astype(numpy.uint8).squeeze(2 if channels == 1 else ())
        )
        Image.fromarray(pictures[-1]).save(folder / f"picture {i}.png")
    return pictures


def pixels_of(file):
    with Image.open(file) as picture:
        return numpy.array(picture.convert("L") if picture.mode == "1" else picture)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def redirected(output):
    """What is written to descriptor 1 goes into a file, as in a shell."""
    before = os.dup(1)
    os.dup2(output.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@pytest.fixture
def model(tmp_path):
    return tiny_checkpoint(tmp_path / "model.safetensors")


@pytest.fixture
def file(model, tmp_path, capsys):
    """Of four pictures in ``tmp_path / "pictures"``."""
    write_pictures(tmp_path / "pictures")
    assert cli.main(["compress", str(model), str(tmp_path / "pictures"), "-o", str(tmp_path / "file")]) == 0
    capsys.readouterr()
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("levels", "channels"),
    [(2, 1), (17, 1), (256, 1), (2, 3), (5, 3), (256, 3)],
    ids=str,
)
def test_pictures_come_back(tmp_path, capsys, levels, channels):
    checkpoint = str(tiny_checkpoint(tmp_path / "model.safetensors", levels, channels))
    pictures = write_pictures(tmp_path / "pictures", levels, channels)
    file, out = tmp_path / "file", tmp_path / "out"
    images = [str(tmp_path / "pictures" / "picture 3.png"), str(tmp_path / "pictures")]
    assert cli.main(["compress", checkpoint, *images, "--out", str(file)]) == 0
    assert cli.main(["decompress", checkpoint, str(file), "--out", str(out)]) == 0
    values = channels * sum(height * width for height, width in [SIZES[3], *SIZES])
    size = file.stat().st_size
    printed, said = capsys.readouterr().out.splitlines()
    found = re.fullmatch(
        rf"5 images, {size} bytes, (\d+\.\d{{4}}) bits/dim, (\d+ bytes|\d\.\d\d %) above the likelihood", printed
    )
    assert found and abs(float(found[1]) - 8 * size / values) < 1e-4
    assert said == f"5 images: {out}"
    assert names(out) == [f"{i}.png" for i in range(5)]
    for i, expected in enumerate([pictures[3], *pictures]):
        assert numpy.array_equal(pixels_of(out / f"{i}.png"), expected)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_a_gray_picture_without_a_gray_mode(tmp_path, kind):
    """It comes back as gray PNG."""
    checkpoint, gray = str(tiny_checkpoint(tmp_path / "model.safetensors", 256)), numpy.uint8([[9, 0, 99], [7, 255, 8]])
    picture = Image.fromarray(gray).convert("RGB")
    (picture if kind == "WEBP" else picture.quantize(8)).save(tmp_path / "x", kind, lossless=True)
    assert cli.main(["compress", checkpoint, str(tmp_path / "x"), "-o", str(tmp_path / "file")]) == 0
    assert cli.main(["decompress", checkpoint, str(tmp_path / "file"), "-o", str(tmp_path / "out")]) == 0
    assert numpy.array_equal(pixels_of(tmp_path / "out" / "0.png"), gray)


def test_the_likelihood_is_that_of_the_model(tmp_path, capsys, monkeypatch):
    """In batches of few pixels, too; images that are too large for a pass have none."""
    checkpoint = tiny_checkpoint(tmp_path / "model.safetensors", 256)
    write_pictures(tmp_path / "pictures", 256)
    compressing = ["compress", str(checkpoint), str(tmp_path / "pictures"), "-o", str(tmp_path / "file")]
    model, facts = load_model(checkpoint)
    groups = coding.read([str(tmp_path / "pictures")], model, facts, 10**6)
    assert [tuple(group.images.shape) for group in groups] == [(2, 1, 4, 5), (1, 1, 1, 7), (1, 1, 4, 5)]
    with torch.no_grad():
        bits = -sum(float(model.double().log_prob(group.images).sum()) for group in groups) / numpy.log(2)
    lines = []
    for pixels in (2**18, 20, 19):
        monkeypatch.setattr(command, "PIXELS", pixels)
        assert cli.main(compressing) == 0
        lines.append(capsys.readouterr().out.strip())
    more = (tmp_path / "file").stat().st_size - bits / 8
    assert lines[0] == lines[1] == f"{lines[2]}, {more:.0f} bytes above the likelihood"


def test_a_large_file_is_beside_the_likelihood_by_its_size(tmp_path, capsys):
    checkpoint = tiny_checkpoint(tmp_path / "model.safetensors", 256)
    write_pictures(tmp_path / "pictures", 256, sizes=[(30, 30)])
    assert cli.main(["compress", str(checkpoint), str(tmp_path / "pictures"), "-o", str(tmp_path / "file")]) == 0
    model, facts = load_model(checkpoint)
    (group,) = coding.read([str(tmp_path / "pictures")], model, facts, 10**6)
    with torch.no_grad():
        bits = -float(model.double().log_prob(group.images).sum()) / numpy.log(2)
    more = 100 * (8 * (tmp_path / "file").stat().st_size / bits - 1)
    assert 0 < more < 5
    assert capsys.readouterr().out.endswith(f" bits/dim, {more:.2f} % above the likelihood\n")


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


def test_one_image_is_no_images(model, tmp_path, capsys):
    Image.fromarray(numpy.eye(4, dtype=bool)).save(tmp_path / "x.png")
    file, out = tmp_path / "file", tmp_path / "out"
    assert cli.main(["compress", str(model), str(tmp_path / "x.png"), "-o", str(file)]) == 0
    assert cli.main(["decompress", str(model), str(file), "-o", str(out)]) == 0
    compressed, decompressed = capsys.readouterr().out.splitlines()
    assert compressed.startswith(f"1 image, {file.stat().st_size} bytes, ") and decompressed == f"1 image: {out}"


def test_a_split_with_the_labels_of_its_images(trained, tmp_path, capsys):
    """To a conditional model: the file needs them again."""
    run, file, out = str(trained[0]), str(tmp_path / "file"), tmp_path / "out"
    assert cli.main(["compress", run, "digits:test", "-o", file]) == 0
    expected = "expected --label, a class of 0, .*, 9, got none"
    assert re.search(f"^pixelrnn: {expected}", refused(capsys, "decompress", run, file, "-o", out))
    other = refused(capsys, "decompress", run, file, "-o", out, "--label", "3")
    assert re.search("file cannot be decoded: .*(stream|checksum)", other) and not out.exists()
    assert cli.main(["decompress", run, file, "-o", str(out), "--label", "digits:test"]) == 0
    images = data.load("digits").splits["test"].images
    assert names(out) == [f"{i:03}.png" for i in range(len(images))]
    for i in (0, 99, 175):
        assert (pixels_of(out / f"{i:03}.png") == (images[i, 0] * (255 / 16)).round().numpy()).all()
    again = tmp_path / "again"
    assert cli.main(["compress", run, str(out), "-o", str(again), "--label", "digits:test"]) == 0
    assert again.read_bytes() == (tmp_path / "file").read_bytes()
    assert re.search(expected, refused(capsys, "compress", run, out, "-o", again))


def test_one_label_for_all(trained, tmp_path, capsys):
    run, file, out = str(trained[0]), str(tmp_path / "file"), tmp_path / "out"
    pictures = write_pictures(tmp_path / "pictures", 17, 1)
    for name in ("3", "4"):
        compressing = ["compress", run, str(tmp_path / "pictures"), "-o", file, "--label", name, "--verify"]
        assert cli.main(compressing) == 0
    other = refused(capsys, "decompress", run, file, "-o", out, "--label", "3")
    assert re.search("file cannot be decoded: .*(stream|checksum)", other)
    assert cli.main(["decompress", run, file, "-o", str(out), "--label", "4"]) == 0
    assert all(numpy.array_equal(pixels_of(out / f"{i}.png"), expected) for i, expected in enumerate(pictures))


def given(*labels):
    return [word for label in labels for word in ("--label", label)]


def test_the_labels_of_several_splits(trained, tmp_path, capsys):
    """Of the images one after the other: in another order they are others."""
    run, file, out = str(trained[0]), str(tmp_path / "file"), tmp_path / "out"
    splits = ["digits:validation", "digits:test"]
    assert cli.main(["compress", run, *splits, "-o", file, "--verify"]) == 0
    other = refused(capsys, "decompress", run, file, "-o", out, *given(*reversed(splits)))
    assert re.search("file cannot be decoded: .*(stream|checksum)", other) and not out.exists()
    assert cli.main(["decompress", run, file, "-o", str(out), *given(*splits)]) == 0
    found = data.load("digits").splits
    images = torch.cat([found[split].images for split in ("validation", "test")])
    assert len(names(out)) == len(images) == 352
    for i in (0, 175, 176, 351):
        assert (pixels_of(out / f"{i:03}.png") == (images[i, 0] * (255 / 16)).round().numpy()).all()


def test_the_labels_of_a_split_and_of_pictures(trained, tmp_path, capsys):
    """Each by its name: those of the split are not taken by themselves where others have none."""
    run, file, out = str(trained[0]), str(tmp_path / "file"), tmp_path / "out"
    pictures = write_pictures(tmp_path / "pictures", 17)
    images, labels = ["digits:test", str(tmp_path / "pictures")], given("digits:test", "1", "2", "7", "1")
    assert "expected --label, a class of 0," in refused(capsys, "compress", run, *images, "-o", file)
    assert cli.main(["compress", run, *images, "-o", file, *labels]) == 0
    other = refused(capsys, "decompress", run, file, "-o", out, *given("digits:test", "1", "2", "7", "2"))
    assert re.search("file cannot be decoded: .*(stream|checksum)", other) and not out.exists()
    assert cli.main(["decompress", run, file, "-o", str(out), *labels]) == 0
    assert all(numpy.array_equal(pixels_of(out / f"{176 + i}.png"), expected) for i, expected in enumerate(pictures))


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
    run, out, file = trained[0], tmp_path / "out", tmp_path / "file"
    write_pictures(tmp_path / "pictures", 17)
    sentence = refused(capsys, "compress", run, tmp_path / "pictures", "-o", out, *given(*labels))
    assert re.search(message, sentence), sentence
    assert cli.main(["compress", str(run), str(tmp_path / "pictures"), "-o", str(file), "--label", "1"]) == 0
    capsys.readouterr()
    sentence = refused(capsys, "decompress", run, file, "-o", out, *given(*labels))
    assert re.search(message, sentence), sentence
    assert not out.exists()


def test_the_label_of_a_split_of_one_image_is_not_that_of_all(tmp_path, capsys, monkeypatch):
    images = tiny_data()
    images.splits["test"] = data.Split(images.splits["test"].images[:1], images.splits["test"].labels[:1])
    monkeypatch.setattr(data, "load", lambda spec: images)
    model = tiny_checkpoint(tmp_path / "model.safetensors", classes=images.classes)
    write_pictures(tmp_path / "pictures")
    sentence = refused(
        capsys, "compress", model, tmp_path / "pictures", "-o", tmp_path / "file", "--label", "digits:test"
    )
    assert sentence.endswith("expected labels of 4 images, or one class for all, got 1")


def test_a_path_that_is_there_goes_before_a_split(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(numpy.eye(4, dtype=bool)).save("digits:test", "PNG")
    assert cli.main(["compress", str(model), "digits:test", "-o", "file"]) == 0
    assert capsys.readouterr().out.startswith("1 image, ")


def test_streams_and_batches(file, model, tmp_path, capsys):
    """Streams make another file of the same images; batches do not."""
    pictures, sizes = str(tmp_path / "pictures"), []
    for more in (["--batch-size", "1"], ["--streams", "2"]):
        assert cli.main(["compress", str(model), pictures, "-o", str(tmp_path / "other"), *more]) == 0
        sizes.append((tmp_path / "other").stat().st_size)
        contents = (tmp_path / "other").read_bytes()
        assert (contents == file.read_bytes()) == (more[0] == "--batch-size")
    assert sizes[0] < sizes[1]
    assert cli.main(["decompress", str(model), str(tmp_path / "other"), "-o", str(tmp_path / "out")]) == 0


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
        ("{gray} --label 3", "expected no label for a model without classes, got '3'"),
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
    words = [word.format(**paths) for word in images.split()]
    if words[-1:] == ["3"] and "--label" in words:
        words[0] = str(paths["bits"])
    sentence = refused(capsys, "compress", model, *words, "-o", tmp_path / "file")
    assert re.search(message.format(**paths), sentence), sentence
    assert not (tmp_path / "file").exists()


def test_images_without_a_name(model, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["compress", str(model), "", "-o", str(tmp_path / "file")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("argument IMAGES: expected a path, got an empty one\n")


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
    decompressing = ["decompress", str(model), str(file), "-o", str(tmp_path / "out"), "--max-bytes"]
    sentence = refused(capsys, *decompressing, 100)
    needed = int(re.search(r", which needs (\d+)$", sentence)[1])
    assert f"--max-bytes {needed - 1}, got" in refused(capsys, *decompressing, needed - 1)
    assert cli.main([*decompressing, str(needed)]) == 0


def test_a_model_whose_images_are_no_pictures(tmp_path, capsys):
    model = tiny_checkpoint(tmp_path / "model.safetensors", 300)
    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    expected = "expected a model of 1 or 3 channels and at most 256 levels"
    assert expected in refused(capsys, "compress", model, tmp_path / "x.png", "-o", tmp_path / "file")
    assert expected in refused(capsys, "decompress", model, "file", "-o", tmp_path / "out")


def test_the_classes_of_a_split_are_those_of_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "load", lambda spec: tiny_data())
    model = tiny_checkpoint(tmp_path / "model.safetensors", classes=("even", "falling", "rising"))
    sentence = refused(capsys, "compress", model, "digits:test", "-o", tmp_path / "file")
    assert "expected the classes of the training, even, falling, rising, got falling, rising, even" in sentence
    model = tiny_checkpoint(tmp_path / "model.safetensors", classes=tiny_data().classes)
    Image.fromarray(numpy.eye(4, dtype=bool)).save(tmp_path / "x.png")
    sentence = refused(capsys, "compress", model, tmp_path / "x.png", "-o", tmp_path / "file", "--label", "digits:test")
    assert sentence.endswith("expected labels of 1 image, or one class for all, got 5")


def test_verify_writes_nothing_that_is_decoded_to_other_images(file, model, tmp_path, capsys, monkeypatch):
    decompress, before = codec.Codec.decompress_groups, file.read_bytes()

    def others(*arguments, **options):
        groups = decompress(*arguments, **options)
        groups[-1][0, 0, 0, 0] ^= 1
        return groups

    monkeypatch.setattr(codec.Codec, "decompress_groups", others)
    words = ["compress", str(model), str(tmp_path / "pictures" / "picture 2.png"), "-o", str(file)]
    for verifying in ([], ["--verify"]):  # the default, too
        sentence = refused(capsys, *words, *verifying)
        assert "expected the same images" in sentence and file.read_bytes() == before
    assert cli.main([*words, "--no-verify"]) == 0
    assert file.read_bytes() != before


def test_an_existing_file_is_replaced_and_keeps_its_mode(file, model, tmp_path):
    before = file.read_bytes()
    file.chmod(0o640)
    assert cli.main(["compress", str(model), str(tmp_path / "pictures" / "picture 2.png"), "-o", str(file)]) == 0
    assert file.read_bytes() != before and file.stat().st_mode & 0o777 == 0o640


def test_a_file_into_a_device(model, tmp_path, capfd):
    """The standard output, behind which nothing else is printed."""
    write_pictures(tmp_path / "pictures")
    compressing = ["compress", str(model), str(tmp_path / "pictures"), "-o"]
    assert cli.main([*compressing, str(tmp_path / "file")]) == 0
    assert capfd.readouterr().err == ""
    with open(tmp_path / "output", "wb") as output, redirected(output):
        assert cli.main([*compressing, "/dev/stdout"]) == 0
    assert (tmp_path / "output").read_bytes() == (tmp_path / "file").read_bytes()
    assert capfd.readouterr().err.startswith("4 images, ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_for_a_file(file, model, tmp_path, capsys):
    sentence = refused(capsys, "compress", model, tmp_path / "pictures", "-o", "/dev/full")
    assert sentence == "pixelrnn: /dev/full could not be written (No space left on device)"


def test_a_full_disk_for_a_folder(file, model, tmp_path, capsys, monkeypatch):
    write, before = Path.write_bytes, names(tmp_path)

    def full(path, content):
        if path.name == "2.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    sentence = refused(capsys, "decompress", model, file, "-o", tmp_path / "out")
    assert sentence == f"pixelrnn: {tmp_path}/out could not be written (No space left on device)"
    assert names(tmp_path) == before


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
    words = ["pictures", "-o", "new"] if name == "compress" else ["file", "-o", "new"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, function, interrupted)
    assert cli.main([name, str(model), *words]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("x"), "expected --out to be a folder that is not there, or empty, got {out}"),
        (lambda path: (path / "a").mkdir(parents=True), "expected --out to be a folder that is not there, or empty"),
        (lambda path: path.symlink_to(path), "expected --out to be a folder that is not there, or empty"),
        (
            lambda path: path.symlink_to("nothing"),
            "expected --out to be a folder that is not there, or empty, got {out}",
        ),
        (lambda path: path.mkdir() or os.chdir(path), "expected --out to be a folder that can be replaced, got {out}"),
    ],
    ids=["a file", "a folder with something", "a circle", "a broken link", "the current folder"],
)
def test_where_no_folder_is_made(file, model, tmp_path, capsys, monkeypatch, make, message):
    """Before anything is decoded."""
    monkeypatch.chdir(tmp_path)  # and back
    monkeypatch.setattr(codec.Codec, "decompress_groups", None)
    make(tmp_path / "out")
    before = names(tmp_path)
    assert message.format(out=tmp_path / "out") in refused(capsys, "decompress", model, file, "-o", tmp_path / "out")
    assert names(tmp_path) == before


def test_a_folder_in_one_that_is_not_there(file, model, tmp_path, capsys):
    sentence = refused(capsys, "decompress", model, file, "-o", tmp_path / "a" / "b")
    assert sentence == f"pixelrnn: expected --out to name a folder in one that exists, got {tmp_path}/a/b"


def test_an_empty_folder_is_taken(file, model, tmp_path):
    (tmp_path / "out").mkdir(0o750)
    assert cli.main(["decompress", str(model), str(file), "-o", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == [f"{i}.png" for i in range(4)]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_a_file_of_no_images_is_an_empty_folder(model, tmp_path):
    (tmp_path / "file").write_bytes(codec.Codec(load_model(model)[0]).compress(torch.zeros(0, 1, 4, 5).long()))
    assert cli.main(["decompress", str(model), str(tmp_path / "file"), "-o", str(tmp_path / "out")]) == 0
    assert names(tmp_path / "out") == []


def test_a_picture_that_a_multi_scale_model_cannot_take_is_named(tmp_path, capsys):
    torch.manual_seed(0)
    model = models.MultiScalePixelRNN(
        "row", image_channels=1, levels=17, hidden_channels=1, num_layers=1, head_channels=1
    )
    save_untrained(tmp_path / "model", model, [1, 4, 6])
    write_pictures(tmp_path / "pictures", 17, sizes=[(4, 6), (5, 6), (4, 6)])
    sentence = refused(capsys, "compress", tmp_path / "model", tmp_path / "pictures", "-o", tmp_path / "file")
    picture = tmp_path / "pictures" / "picture 1.png"
    expected = "expected H and W to be multiples of factor 2, got 5 x 6"
    assert sentence == f"pixelrnn: {picture} cannot be compressed: {expected}"
