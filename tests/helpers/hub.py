"""Data sets on disk for the library `datasets`, without a network."""

import io

import numpy
from PIL import Image

COUNTS = {"train": 40, "test": 10}


def offline(monkeypatch, cache):
    """Returns the library, which keeps its files in ``cache``."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    datasets.disable_progress_bars()
    return datasets


def pixels_of(split, number, side=8):
    seed = [*split.encode(), number, side]
    return numpy.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=numpy.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def records(split, change=None):
    """Returns records with the columns "picture" and "kind".

    ``change`` maps numbers of records to other bytes of an image file, or to None.
    """
    images = [png(pixels_of(split, number)) for number in range(COUNTS[split])]
    for number, content in (change or {}).items():
        images[number] = content
    values = [content and {"bytes": content, "path": None} for content in images]
    return {"picture": values, "kind": [number % 2 for number in range(len(images))]}


def make_set(split, change=None, names=("even", "odd")):
    import datasets

    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(names))}
    return datasets.Dataset.from_dict(records(split, change), features=datasets.Features(features))


def write_parquet(folder, names=("even", "odd"), change=None):
    """Writes a folder of parquet files, with a training split in two files. ``change`` is for the training split."""
    folder.mkdir(parents=True, exist_ok=True)
    train = make_set("train", change, names)
    for shard in range(2):
        train.shard(2, shard, contiguous=True).to_parquet(folder / f"train-{shard:05}-of-00002.parquet")
    make_set("test", names=names).to_parquet(folder / "test-00000-of-00001.parquet")
    return folder
