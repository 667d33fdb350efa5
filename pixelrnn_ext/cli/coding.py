"""Code that ``pixelrnn compress`` and ``pixelrnn decompress`` share."""

import itertools
import os
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from .._sentences import counted
from ..training import data, folder, stored_data
from ..training.checkpoint import Facts
from ..training.exact_images import read_exact
from ..training.images import pixel_limit
from ..training.progress import bar
from .arguments import positive
from .inputs import Model, add_checkpoint, add_process_options, check_data, classes_of, label_of, say_notes

# The command divides images of one size into groups of at most this number of values, because encoding takes about 20
# bytes of memory for each value of a group. Another number would change the bytes of files.
VALUES_PER_GROUP = 2**26


def add_options(parser: ArgumentParser, more: str = "") -> None:
    add_checkpoint(parser)
    parser.set_defaults(device="cpu")
    add_process_options(parser)
    classes = (
        "the class of all images, for a model of classes; or, once for each image, its class, or a split, such as "
        f"digits:test, with the classes of its images; the file does not keep them{more}"
    )
    parser.add_argument("--label", dest="labels", action="append", default=[], metavar="CLASS", help=classes)
    parser.add_argument("--batch-size", type=positive, default=64, help="images at once (%(default)s)")


def read(names: list[str], model: Model, facts: Facts, max_pixels: int) -> list[data.Split]:
    """Reads the images of ``names`` in order. Each Split has consecutive images of one size.

    A name is a picture file, a folder of pictures, or a split of a data set, such as mnist5k:test.
    """
    parts = (part for name in names for part in _read_parts(name, model, facts, max_pixels))
    # torch.cat would copy the images of a store into memory.
    return [
        run[0] if len(run) == 1 else data.Split(torch.cat([part.images for part in run]), labels_of(run))
        for run in _groups(piece for part in parts for piece in _pieces(part))
    ]


def _groups(parts: Iterable[data.Split]) -> Iterator[list[data.Split]]:
    run: list[data.Split] = []
    values = 0
    for part in parts:
        values += part.images.numel()
        if run and (values > VALUES_PER_GROUP or part.images.shape[1:] != run[0].images.shape[1:]):
            yield run
            run, values = [], part.images.numel()
        run.append(part)
    if run:
        yield run


def _pieces(part: data.Split) -> Iterator[data.Split]:
    """Divides images into pieces that share their memory, of at most ``VALUES_PER_GROUP`` values or of one image."""
    count = max(VALUES_PER_GROUP // part.images.shape[1:].numel(), 1)
    labels = itertools.repeat(None) if part.labels is None else part.labels.split(count)
    return map(data.Split, part.images.split(count), labels)


class OneHot(Sequence[Tensor]):
    """The classes of each group of images as one-hot vectors, which are made when they are read.

    An image's vector takes 4 bytes a class, so the vectors of a large data set may not fit into memory.
    """

    def __init__(self, labels: Sequence[Tensor], classes: int) -> None:
        self._labels, self._classes = labels, classes

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, group: Any) -> Any:
        return self.select(group, slice(None))

    def select(self, group: int, images: Tensor | slice) -> Tensor:
        return data.conditions(self._labels[group][images], self._classes)


def conditions(names: list[str], labels: Tensor | None, counts: list[int], model: Model, facts: Facts) -> OneHot | None:
    """Returns the classes of each group of images, or None if the model takes no condition.

    ``names`` are the values of ``--label``: classes, or splits such as digits:test, which stand for the classes of
    their images. A single class applies to all images. If ``names`` is empty, ``labels`` has the number of each image's
    class. ``counts`` has the number of images of each group.
    """
    classes = classes_of(model, facts)
    if names:
        labels = torch.cat([_labels(name, classes, model, facts) for name in names])
    if not model.condition_channels:
        return None
    if labels is None:
        expected = f"--label, a class of {', '.join(classes)}" if classes else "a model that is told a class"
        raise ValueError(f"expected {expected}, got none")
    if len(names) == 1 and names[0] in classes:
        labels = labels.expand(sum(counts))
    if len(labels) != sum(counts):
        expected = f"labels of {counted(sum(counts), 'image')}, or one class for all"
        raise ValueError(f"expected {expected}, got {len(labels)}")
    return OneHot(labels.split(counts), len(classes))


def _labels(name: str, classes: list[str], model: Model, facts: Facts) -> Tensor:
    found = None if name in classes or not classes else _parse_split(name)
    if found is None:
        return torch.tensor([label_of(name, classes)])
    labels = _load(*found, model, facts).labels
    assert labels is not None
    return labels


def _read_parts(name: str, model: Model, facts: Facts, max_pixels: int) -> Iterator[data.Split]:
    if not os.path.lexists(name):
        found = _parse_split(name)
        if found is None:
            expected = "a picture, a folder of pictures or a split of a data set, such as mnist5k:test"
            raise FileNotFoundError(f"expected {expected}, got {name}")
        yield _checked_size(name, _load(*found, model, facts), model)
        return
    files = files_of(Path(name))
    with pixel_limit(max_pixels), bar("files", len(files), "reading") as shown:
        for file in files:
            yield _checked_size(file, data.Split(read_exact(file, model.image_channels, model.levels)[None]), model)
            shown.update()


def _checked_size(name: str | Path, part: data.Split, model: Model) -> data.Split:
    if isinstance(model, models.MultiScalePixelRNN):
        try:
            model._check_multiples(*part.images.shape[2:])
        except ValueError as error:
            raise ValueError(f"{name} cannot be compressed: {error}") from error
    return part


def paths(name: str) -> list[Path]:
    return files_of(Path(name)) if os.path.lexists(name) else paths_of_split(name)


def paths_of_split(name: str) -> list[Path]:
    found = _parse_split(name)
    return data.paths(data.absolute(found[0])) if found else []


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    names, unreadable = folder.list_names(path)
    if unreadable:
        raise ValueError(f"expected pictures that can be read, got {next(iter(unreadable.values()))}")
    if not names:
        raise ValueError(f"expected pictures in {path}, got none")
    return [path / name for name in names]


def _parse_split(text: str) -> tuple[str, str] | None:
    """Parses "mnist:/data:test" to ("mnist:/data", "test"). Returns None without the name of a data set."""
    spec, _, split = text.rpartition(":")
    name = (spec or text).partition(":")[0]
    if name not in data.DATA_SETS:
        return None
    if split not in data.SPLITS or not spec:
        raise ValueError(f"expected a split of a data set, such as {name}:test, got {text}")
    if name == "folder":
        raise ValueError(f"expected the path of a folder alone, whose pictures are kept as they are, got {text}")
    return spec, split


def _load(spec: str, split: str, model: Model, facts: Facts) -> data.Split:
    dataset = stored_data.load_again(facts, spec)
    check_data(dataset, model, facts)
    dataset.check_not_empty(split)
    say_notes(dataset)
    return dataset.splits[split]


def labels_of(parts: list[data.Split]) -> Tensor | None:
    labels = [part.labels for part in parts if part.labels is not None]
    return torch.cat(labels) if len(labels) == len(parts) else None
