"""What several commands begin with: a model, a data set, the options that are given, what --out names."""

import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ... import models
from ...operators import backends
from .. import checkpoint, data, distributed, files, stored_data
from ..builder import check_fits


def load_model(options: Namespace) -> tuple[models.AutoregressiveModel, dict[str, Any]]:
    """The model of the command's checkpoint, and the facts."""
    device = distributed.choose_device(options.device)
    model, facts = checkpoint.load_model(options.checkpoint, device)
    slow = why_slow(model, device)
    if slow:
        warnings.warn(f"slow, by the plain PyTorch backend: {slow}", stacklevel=2)
    return model, facts


def why_slow(model: models.AutoregressiveModel, device: torch.device) -> str | None:
    """Why the plain PyTorch backend runs where the kernels were not given up; None where they run."""
    if model.backend == "reference" or (device.type == "cuda" and isinstance(model, models.PixelCNN)):
        return None
    return backends.why_not_native(device)


def data_of(options: Namespace, model: models.AutoregressiveModel, facts: dict[str, Any]) -> data.DataSet:
    """The data set of the command, by default that of the checkpoint's training, for this model."""
    dataset = stored_data.load_again(facts, options.data, **data_options(options))
    check_data(dataset, model, facts)
    dataset.check_not_empty(options.split)
    if dataset.folder:
        for note in dataset.notes:
            print(note, file=sys.stderr)
    return dataset


def classes_of(model: models.AutoregressiveModel, facts: dict[str, Any]) -> list[str]:
    """The names of the classes that a model is told; none of a model that is told none."""
    return facts["data"]["classes"] if model.condition_channels else []


def check_data(dataset: data.DataSet, model: models.AutoregressiveModel, facts: dict[str, Any]) -> None:
    """ValueError where a data set has other images than the model, or other classes than it is told."""
    check_fits(model, dataset)
    before = facts["data"]["classes"]
    if model.condition_channels and list(dataset.classes) != before:
        expected = ", ".join(before)
        raise ValueError(f"expected the classes of the training, {expected}, got {', '.join(dataset.classes)}")


def label_of(name: str, classes: list[str]) -> int:
    """The number of a class. ValueError: there is none of that name."""
    if name not in classes:
        expected = f"a class of {', '.join(classes)}" if classes else "no label for a model without classes"
        raise ValueError(f"expected {expected}, got {name!r}")
    return classes.index(name)


def data_options(options: Namespace) -> dict[str, Any]:
    return given(vars(options), data.OPTIONS)


def given(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the options by name that are not left to their defaults."""
    return {name: options[name] for name in names if options.get(name) is not None}


def check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"expected --out in a folder that can be written to, got {folder}")


def check_file(path: Path) -> None:
    """OSError where --out cannot become a file, before minutes of work and not after."""
    target = Path(os.path.realpath(path))
    made = files.is_replaceable(path)
    if path.is_dir() or path.is_socket() or (made and not target.parent.is_dir()):
        raise FileNotFoundError(f"expected --out to name a file in a folder that exists, got {path}")
    if made:
        check_writable(target.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"expected --out to name a file that can be written to, got {path}")


def say(line: str, out: Path) -> None:
    """A line on the standard output, but not behind what went there as --out."""
    print(line, file=sys.stdout if files.is_replaceable(out) else sys.stderr)
