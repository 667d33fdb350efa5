"""The options CHECKPOINT, ``--data`` and ``--device`` of several commands. Loads the models and data they name."""

import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

import torch

from .. import models
from ..operators import backends
from ..training import checkpoint, data, distributed, images, stored_data
from ..training.builder import check_fits
from .arguments import size, whole


def add_data(parser: ArgumentParser, what: str) -> None:
    group = parser.add_argument_group("data set")
    names = ", ".join(data.DATA_SETS)
    group.add_argument("--data", type=data.absolute, metavar="NAME[:PATH]", help=f"{what}: one of {names}")
    group.add_argument(
        "--binarisation", choices=data.BINARISATIONS, help="of mnist and mnist5k: once (default), or for every batch"
    )
    group.add_argument("--image-size", type=size, metavar="HxW", help="folder: size of the images, 32x32 by default")
    group.add_argument(
        "--fit", choices=images.FITS, help="folder: scale and cut at the centre (default), scale, or cut"
    )
    group.add_argument("--gray", action="store_true", default=None, help="folder: one channel instead of three")
    group.add_argument(
        "--strict", action="store_true", default=None, help="folder: an unreadable file is an error, not skipped"
    )
    group.add_argument(
        "--max-pixels",
        type=whole(1),
        metavar="COUNT",
        help=f"folder: larger pictures are unreadable, {images.MAX_PIXELS} by default",
    )


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; a GPU by default where there is one")


def add_checkpoint(parser: ArgumentParser) -> None:
    names = ", ".join(models.PRETRAINED)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help=f"a checkpoint, the folder of a training: its best one, or a pretrained model: {names}",
    )


def load_model(options: Namespace) -> tuple[models.AutoregressiveModel, dict[str, Any]]:
    device = distributed.choose_device(options.device)
    model, facts = checkpoint.load_model(options.checkpoint, device)
    slow = why_slow(model, device)
    if slow:
        warnings.warn(f"slow, by the plain PyTorch backend: {slow}", stacklevel=2)
    return model, facts


def why_slow(model: models.AutoregressiveModel, device: torch.device) -> str | None:
    """Returns why no kernels run. None if kernels run, or if the user chose plain PyTorch."""
    if model.backend == "reference" or (device.type == "cuda" and isinstance(model, models.PixelCNN)):
        return None
    return backends.why_not_native(device)


def data_of(options: Namespace, model: models.AutoregressiveModel, facts: dict[str, Any]) -> data.DataSet:
    dataset = stored_data.load_again(facts, options.data, **data_options(options))
    check_data(dataset, model, facts)
    dataset.check_not_empty(options.split)
    if dataset.folder:
        for note in dataset.notes:
            print(note, file=sys.stderr)
    return dataset


def classes_of(model: models.AutoregressiveModel, facts: dict[str, Any]) -> list[str]:
    return facts["data"]["classes"] if model.condition_channels else []


def check_data(dataset: data.DataSet, model: models.AutoregressiveModel, facts: dict[str, Any]) -> None:
    check_fits(model, dataset)
    before = facts["data"]["classes"]
    if model.condition_channels and list(dataset.classes) != before:
        expected = ", ".join(before)
        raise ValueError(f"expected the classes of the training, {expected}, got {', '.join(dataset.classes)}")


def label_of(name: str, classes: list[str]) -> int:
    if name not in classes:
        expected = f"a class of {', '.join(classes)}" if classes else "no label for a model without classes"
        raise ValueError(f"expected {expected}, got {name!r}")
    return classes.index(name)


def data_options(options: Namespace) -> dict[str, Any]:
    return given(vars(options), data.OPTIONS)


def given(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Returns the named options that are not None."""
    return {name: options[name] for name in names if options.get(name) is not None}
