"""Data sets of the library `datasets`, from files on disk."""

import os
import re
import shutil

import pytest
import torch
from PIL import Image

from helpers.hub import COUNTS, make_set, offline, pixels_of, png, write_parquet
from pixelrnn_ext.training import data

pytest.importorskip("datasets", reason="the hub extra brings datasets")


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path):
    return offline(monkeypatch, tmp_path / "library")


@pytest.fixture
def parquet(tmp_path):
    return write_parquet(tmp_path / "parquet")


def load(where, cache="cache", **options):
    return data.load(data.absolute(f"hf:{where}"), cache=str(where.parent / cache), **options)


def write_images(folder):
    for split, count in COUNTS.items():
        for number in range(count):
            # The library sorts the files by name.
            file = folder / split / ("even", "odd")[number % 2] / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels_of(split, number)).save(file)
    return folder


def save(folder, library):
    library.DatasetDict({split: make_set(split) for split in COUNTS}).save_to_disk(folder)
    return folder


def numbers_of(split, order):
    if order != "by class":
        return list(range(COUNTS[split]))
    return [*range(0, COUNTS[split], 2), *range(1, COUNTS[split], 2)]


SOURCES = {
    "parquet": (lambda folder, library: write_parquet(folder), {}, ""),
    "workers": (lambda folder, library: write_parquet(folder), dict(workers=2), ""),
    "streamed": (
        lambda folder, library: write_parquet(folder),
        dict(streaming=True, splits=["train", "test", "test"]),
        "",
    ),
    "images": (lambda folder, library: write_images(folder), {}, "by class"),
    "images streamed": (
        lambda folder, library: write_images(folder),
        dict(streaming=True, splits=["train", "test", "test"]),
        "by class",
    ),
    "saved": (save, {}, ""),
}


@pytest.mark.parametrize("source", SOURCES)
def test_images_and_labels_of_every_kind_of_files(tmp_path, library, source):
    write, options, order = SOURCES[source]
    loaded = load(write(tmp_path / "source", library), **options)
    assert loaded.shape == (3, 8, 8) and loaded.classes == ("even", "odd") and loaded.levels == 256
    assert loaded.description == f"hf:{tmp_path}/source (8x8 RGB)"
    same = ("validation and test are the same records, test",) if "splits" in options else ()
    assert loaded.notes == (f"{60 if same else 50} images read", *same)
    train = [("train", number) for number in numbers_of("train", order)]
    test = [("test", number) for number in numbers_of("test", order)]
    expected = (train, test, test) if "splits" in options else (train[:36], train[36:], test)
    for (split, part), records in zip(loaded.splits.items(), expected):
        pixels = torch.stack([torch.from_numpy(pixels_of(*record)).permute(2, 0, 1) for record in records])
        assert torch.equal(part.images, pixels), split
        assert part.labels.tolist() == [number % 2 for _, number in records]


def test_a_data_set_is_converted_once_and_a_change_is_noticed(parquet, library, monkeypatch):
    first = load(parquet)
    assert first.fingerprint == load(parquet, "other cache").fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(library.DatasetBuilder, "as_dataset", None)
        assert load(parquet).facts == first.facts
    write_parquet(parquet, change={3: png(pixels_of("other", 3))})
    assert load(parquet).fingerprint["sha256"] != first.fingerprint["sha256"]


def test_a_data_set_of_a_hub_has_the_revision_of_its_commit(parquet, library, monkeypatch, tmp_path):
    builder = library.load_dataset_builder(str(parquet))
    builder.base_path = f"hf://datasets/owner/name@{'0123456789' * 4}/"
    asked = []
    monkeypatch.setattr(
        library, "load_dataset_builder", lambda *args, **options: asked.append((args, options)) or builder
    )
    loaded = data.load("hf:owner/name", cache=str(tmp_path / "cache"), revision="main")
    assert asked == [(("owner/name",), {"revision": "main"})] and loaded.fingerprint["revision"] == "0123456789" * 4
    assert torch.equal(loaded.splits["test"].images[3], torch.from_numpy(pixels_of("test", 3)).permute(2, 0, 1))


def test_images_are_fitted_as_those_of_a_folder(parquet):
    loaded = load(parquet, image_size=(4, 6), fit="squash", gray=True)
    picture = Image.fromarray(pixels_of("test", 2)).convert("L").resize((6, 4), Image.Resampling.LANCZOS)
    assert loaded.shape == (1, 4, 6) and loaded.description.endswith("(4x6 gray, squash)")
    assert bytes(loaded.splits["test"].images[2].flatten().tolist()) == picture.tobytes()


BAD = {
    "corrupt": (png(pixels_of("train", 0))[:60], "record 7 of train[:90%] cannot be read as an image: "),
    "no image": (b"text", "record 7 of train[:90%] cannot be read as an image: it is of no format that Pillow knows"),
    "size": (png(pixels_of("x", 0, 6)), "record 7 of train[:90%] is 6x6, expected 8x8; --image-size fits images"),
    "missing": (None, "record 7 of train[:90%] has no image"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_is_skipped_and_named_or_with_strict_refused(tmp_path, kind):
    content, expected = BAD[kind]
    where = write_parquet(tmp_path / "parquet", change={7: content})
    loaded = load(where)
    assert len(loaded.splits["train"]) == 35
    assert loaded.notes[0].startswith(f"49 images read, 1 skipped as unreadable, the first: {expected}")
    for cache in ("cache", "another cache"):
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
            load(where, cache, strict=True)
    assert not [path for path in (tmp_path / "another cache" / "stores").iterdir() if path.is_dir()]


def test_a_record_without_a_label_is_bad(tmp_path, library):
    train = make_set("train")
    labels = [None if number == 2 else -1 if number == 3 else kind for number, kind in enumerate(train["kind"])]
    train = train.remove_columns("kind").add_column("kind", labels, feature=train.features["kind"])
    library.DatasetDict({"train": train, "test": make_set("test")}).save_to_disk(tmp_path / "saved")
    first = "record 2 of train[:90%] has the label None, expected 0 to 1"
    assert load(tmp_path / "saved").notes == (f"48 images read, 2 skipped as unreadable, the first: {first}",)


def test_shards_may_have_unlike_hashes(parquet):
    expected = load(parquet).fingerprint
    for number, file in enumerate(sorted(parquet.glob("*.parquet"))):
        file.rename(file.with_name(f"{file.stem}-{number}ab{number}.parquet"))
    assert load(parquet).fingerprint == expected
    next(parquet.glob("train-00001-*")).unlink()
    with pytest.raises(OSError, match="train-00001-of-00002.parquet is missing"):
        load(parquet)


def missing_shard(parquet):
    (parquet / "train-00001-of-00002.parquet").unlink()


def copied_shard(parquet):
    shutil.copy(parquet / "train-00001-of-00002.parquet", parquet / "train-00001-of-00002 (1).parquet")


def damaged_shard(parquet):
    os.truncate(parquet / "train-00001-of-00002.parquet", 600)


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        (missing_shard, {}, "hf:{where} cannot be loaded: {where}/train-00001-of-00002.parquet is missing"),
        (
            copied_shard,
            {},
            "hf:{where} cannot be loaded: expected one file of each number from 0 to 1, got "
            "{where}/train-00001-of-00002.parquet beside {where}/train-00001-of-00002 (1).parquet",
        ),
        (damaged_shard, {}, "hf:{where} cannot be loaded: Failed to read file '{where}/train-00001-of-00002.parquet'"),
        (
            damaged_shard,
            dict(streaming=True, splits=["train", "test", "test"]),
            "hf:{where} cannot be loaded: Failed to read",
        ),
        (
            lambda parquet: (parquet / "test-00000-of-00001.parquet").unlink(),
            {},
            "expected --splits TRAIN VALIDATION TEST",
        ),
        (
            None,
            dict(splits=["trian", "test", "test"]),
            "expected --splits of train, test, or parts of them, got trian: ",
        ),
        (
            None,
            dict(splits=["train[:x]", "test", "test"]),
            "expected --splits of train, test, or parts of them, got train[",
        ),
        (
            None,
            dict(splits=["train[:30]", "test+train[29:]", "train[:30]"]),
            "expected --splits that do not overlap, got train[:30] and test+train[29:], which share records of train",
        ),
        (
            None,
            dict(streaming=True),
            "expected --splits to name whole splits with --streaming, of train, test, got train[:",
        ),
        (
            None,
            dict(image_column="kinds"),
            "expected --image-column to name a column of Image, of picture, kind, got kinds",
        ),
        (None, dict(image_column="kind"), "expected two columns for images and classes, got kind for both"),
        (
            None,
            dict(label_column="picture"),
            "expected --label-column to name a column of ClassLabel, of picture, kind",
        ),
        (
            None,
            dict(streaming=True, splits=["train+test", "test", "test"]),
            "expected --splits to name whole splits with --streaming, got train+test",
        ),
        (None, dict(revision="main"), "expected no revision for a folder, got main"),
        (None, dict(fit="wide"), "expected fit to be one of crop, squash, cut, got 'wide'"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(parquet, change, options, expected):
    if change:
        change(parquet)
    with pytest.raises((OSError, ValueError), match=f"^{re.escape(expected.format(where=parquet))}.*$"):
        load(parquet, **options)
    assert not [path for path in (parquet.parent / "cache").glob("stores/*") if path.is_dir()]


def test_a_split_may_be_empty(parquet):
    loaded = load(parquet, splits=["train[:30]", "train[30:]", "train[40:]"])
    assert loaded.counts == "train 30, validation 10, test 0"


def test_parts_of_splits_are_refused_before_anything_is_streamed(library, monkeypatch):
    monkeypatch.setattr(library, "load_dataset_builder", None)
    expected = r"^expected --splits to name whole splits with --streaming, got train\[90%:\]$"
    with pytest.raises(ValueError, match=expected):
        data.load("hf:owner/name", streaming=True, splits=["train", "train[90%:]", "test"])


def test_an_unknown_name_is_no_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert data.absolute("hf:nobody/nothing") == "hf:nobody/nothing"
    with pytest.raises(
        OSError, match="^hf:nobody/nothing cannot be loaded: Couldn't reach 'nobody/nothing' on the Hub"
    ):
        data.load("hf:nobody/nothing", cache=str(tmp_path))
    with pytest.raises(ValueError, match="expected hf:NAME or hf:PATH, got neither"):
        data.load("hf")
