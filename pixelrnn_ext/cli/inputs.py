"""Options that several commands share: CHECKPOINT, ``--data``, ``--device``, ``--timeout`` and ``--threads``."""

import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeAlias

import torch

from .. import models
from ..operators import backends
from ..training import checkpoint, data, distributed, images, stored_data
from ..training.builder import check_fits
from ..training.checkpoint import Facts
from ..training.interrupt import ignore_signals
from .arguments import device, folder, non_negative, positive, size, up_to

MAX_THREADS = 1024  # OpenMP ends the process, without a message, if the system cannot start so many threads
Model = models.AutoregressiveModel
Command: TypeAlias = Callable[[Namespace, str, list[str]], int]


def add_data(parser: ArgumentParser, what: str) -> None:
    group = parser.add_argument_group("data set")
    names = ", ".join(data.DATA_SETS)
    group.add_argument("--data", type=data.absolute, metavar="NAME[:PATH]", help=f"{what}: one of {names}")

    def add(flag: str, help: str, **options: Any) -> None:
        """Adds an option of some data sets. Its help begins with their names."""
        name = flag.removeprefix("--").replace("-", "_")
        names = ", ".join(key for key, source in data.DATA_SETS.items() if name in source.options)
        group.add_argument(flag, help=f"{names}: {help}", **options)

    add("--binarisation", "once (default), or for every batch", choices=data.BINARISATIONS)
    add("--image-size", "size of the images; folder: 32x32 by default", type=size, metavar="HxW")
    add("--fit", "scale and cut at the centre (default), scale, or cut", choices=images.FITS)
    add("--gray", "one channel instead of three", action="store_true", default=None)
    add("--strict", "what is unreadable is an error, not skipped", action="store_true", default=None)
    add("--max-pixels", f"larger images are unreadable ({images.MAX_PIXELS})", type=positive, metavar="N")
    add("--workers", "processes that decode pictures (0)", type=non_negative, metavar="N")
    where = "where large data sets are kept as bytes (pixelrnn_ext in ~/.cache)"
    add("--cache", where, type=folder, metavar="DIR")
    expressions = "splits or parts of them, such as train[:90%%] train[90%%:] test"
    add("--splits", expressions, nargs=3, metavar=("TRAIN", "VALIDATION", "TEST"))
    add("--image-column", "the column of the images, if there are several", metavar="NAME")
    add("--label-column", "the column of the classes, if there are several", metavar="NAME")
    add("--revision", "of a data set on a hub, by default the newest")
    add("--streaming", "keep no files of the library; whole splits only", action="store_true", default=None)


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=device, default="auto", help="cpu, cuda, cuda:1, ...; auto: a GPU, if any")
    add_process_options(parser)


def add_process_options(parser: ArgumentParser) -> None:
    limit = "under torchrun: how long a process waits for another (%(default)s)"
    parser.add_argument("--timeout", type=positive, metavar="SECONDS", default=distributed.TIMEOUT, help=limit)
    add_threads(parser)


def add_threads(parser: ArgumentParser) -> None:
    threads = "threads of the CPU for a process, by default OMP_NUM_THREADS or as many as cores"
    parser.add_argument("--threads", type=up_to(MAX_THREADS), metavar="N", help=threads)


def add_checkpoint(parser: ArgumentParser) -> None:
    names = ", ".join(models.PRETRAINED)
    sources = f"a checkpoint, the folder of a training: its best one, or a pretrained model: {names}"
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=sources)


def divided(run: Command) -> Command:
    """Connects the processes that torchrun has started, as ``options.world``, for a command that divides its work."""

    @wraps(run)
    def connected(options: Namespace, command: str, argv: list[str]) -> int:
        with distributed.world(options.device, options.timeout) as world, world.end_together():
            options.world = world
            status = run(options, command, argv)
            ignore_signals()  # while the world ends
            return status

    return connected


def load_model(options: Namespace) -> tuple[Model, Facts]:
    device = options.world.device
    model, facts = checkpoint.load_model(options.checkpoint, device)
    # Checkpoint files may differ between machines, or change meanwhile.
    options.world.check_same("model", lambda: _digest(model))
    slow = why_slow(model, device)
    if slow and device.type == "cuda":
        backends.warn_of_pytorch(slow)  # as the first layer would, but before long work begins
    elif slow:
        warnings.warn(f"slow, by the plain PyTorch backend: {slow}", stacklevel=2)
    return model, facts


def _digest(model: Model) -> str:
    tensors = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    return checkpoint.digest_of(repr(models.to_config(model)), tensors)


def why_slow(model: Model, device: torch.device) -> str | None:
    """Returns why the model runs in plain PyTorch although the user did not choose this, or None."""
    if model.backend == "reference" or (device.type == "cuda" and isinstance(model, models.PixelCNN)):
        return None
    return backends.why_not_native(device)


def load_data(options: Namespace, model: Model, facts: Facts) -> data.DataSet:
    world = options.world
    dataset = world.first_then_others(lambda: stored_data.load_again(facts, options.data, **data_options(options)))
    stored_data.check_same_everywhere(dataset, world)
    check_data(dataset, model, facts)
    dataset.check_not_empty(*(data.SPLITS if options.split == "all" else [options.split]))
    say_notes(dataset)
    return dataset


def say_notes(dataset: data.DataSet) -> None:
    """Prints the notes of a data set in the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        for note in dataset.notes:
            print(note, file=sys.stderr)


def classes_of(model: Model, facts: Facts) -> list[str]:
    return facts["data"]["classes"] if model.condition_channels else []


def check_data(dataset: data.DataSet, model: Model, facts: Facts) -> None:
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
    return select_options(vars(options), data.OPTIONS)


def select_options(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: options[name] for name in names if options.get(name) is not None}
