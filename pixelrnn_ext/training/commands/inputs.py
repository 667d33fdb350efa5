"""What several commands begin with: a model, a data set, the options that are given."""

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
from .. import checkpoint, data, distributed, stored_data
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
    check_fits(model, dataset)
    dataset.check_not_empty(options.split)
    before = facts["data"]["classes"]
    if model.condition_channels and list(dataset.classes) != before:
        expected = ", ".join(before)
        raise ValueError(f"expected the classes of the training, {expected}, got {', '.join(dataset.classes)}")
    if dataset.folder:
        for note in dataset.notes:
            print(note, file=sys.stderr)
    return dataset


def data_options(options: Namespace) -> dict[str, Any]:
    return given(vars(options), data.OPTIONS)


def given(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the options by name that are not left to their defaults."""
    return {name: options[name] for name in names if options.get(name) is not None}


def check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"expected --out in a folder that can be written to, got {folder}")
