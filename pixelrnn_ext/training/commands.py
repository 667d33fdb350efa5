"""What the commands of the command line do; each takes its options and returns its exit status."""

import json
import math
import os
import platform
import shlex
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import models
from .._command import INTERRUPTED
from ..operators import backends, library
from ..operators.library import VERSION, build_config
from . import animation, builder, checkpoint, data, distributed, drawing, files, grid, images, output
from .evaluation import nats_per_image
from .interrupt import Interrupt
from .loop import Settings, Training, check_fits, cycled_classes
from .optional import need
from .progress import bar, follow
from .stored_data import load_again
from .summary import parameters_in_words
from .tensorboard import need_tensorboard

NOT_STORED = {"run", "resume", "overwrite"}  # options of one command, not of the training
MODEL_OPTIONS = (
    "layer",
    "hidden_channels",
    "num_layers",
    "head_channels",
    "kernel_size",
    "residual",
    "skip",
    "initial_state",
    "factor",
    "upsampling_channels",
    "backend",
)


def train(options: Namespace, command: str, parse_again: Callable[[dict[str, Any]], Namespace]) -> int:
    """Trains a model, and scores the best one on the test split."""
    for package in ("filelock", "safetensors.torch", "tqdm"):  # not after an hour of work
        need(package)
    out = Path(options.out)
    last = output.resumable(out)
    there = next(above for above in last.parents if above.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"expected --out to be a folder, got {there}")
    _check_writable(there)
    if options.resume:
        if not last.exists():
            raise FileNotFoundError(f"expected a training to go on with in --out, got no checkpoint in {out}")
        before = checkpoint.load(last)[1]
        stored = before.get("arguments")
        if stored is None:
            raise ValueError(f"expected a checkpoint that this command wrote, got another one: {last}")
        options = parse_again(stored)
    if options.tensorboard:
        need_tensorboard()
    if options.data is None or options.model is None:
        raise ValueError("expected --data and --model")
    _check_kernels(options)
    if not options.resume:
        builder.check_options(options.model, _given(vars(options), MODEL_OPTIONS))
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})

    def load() -> data.DataSet:
        if options.resume:
            return load_again(before, options.data, same=True, **_data_options(options))
        return data.load(options.data, **_data_options(options))

    with distributed.world(options.device) as here, ExitStack() as stack:
        with here.alike():
            if here.first:  # it writes, and downloads
                stack.enter_context(output.locked(out, command))
                if not (options.resume or options.overwrite):
                    output.check_unused(out)
                dataset = load()
        if not here.first:
            dataset = load()
        dataset.check_not_empty(*data.SPLITS)
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.deterministic = True  # its other kernels add in any order; --resume goes on to the bit
        model = builder.build(
            options.model,
            dataset,
            conditional=options.conditional,
            parameters=options.parameters,
            **_given(vars(options), MODEL_OPTIONS),
        )
        arguments = {name: value for name, value in vars(options).items() if name not in NOT_STORED}
        say = need("tqdm").tqdm.write if here.first else lambda line: None
        facts: dict[str, Any] = {"arguments": arguments, "command": command, "version": VERSION}
        training = Training(model, dataset, settings, here, out, facts, say, options.overwrite, options.tensorboard)
        if options.resume and training.resume(last).get("arguments") != stored:
            raise ValueError(f"{out} was trained in by another process a moment ago: expected nobody else to")
        for line in _header(command, training):
            say(line)
        with Interrupt() as stop:
            if not training.run(stop):
                go_on = f"{command.split(' train ')[0]} train --out {shlex.quote(options.out)} --resume"
                say(f"stopped after step {training.progress.step}; to go on: {go_on}")
                return INTERRUPTED
        here.barrier()
        best, facts = checkpoint.load_model(last.with_name(checkpoint.BEST), here.device)
        nats = _score(best, dataset, "test", here, settings.batch_size)
        score = dataset.score(nats)
        step = facts["progress"]["step"]
        if training.journal:
            training.journal.write("test", training.progress.step, score=score, best_step=step)
            training.journal.close()
        say(_headline("test", score, dataset, best, step) + ", the best on validation")
    return 0


def evaluate(options: Namespace) -> int:
    """The likelihood of a split."""
    model, facts = _load_model(options)
    dataset = _data_of(options, model, facts)
    here = distributed.World(0, 1, next(model.parameters()).device)
    score = dataset.score(_score(model, dataset, options.split, here, options.batch_size))
    step = facts["progress"]["step"]
    if options.json:
        found = {
            "score": score,
            "unit": dataset.unit,
            "data": dataset.description,
            "split": options.split,
            "images": len(dataset.splits[options.split]),
            "model": models.to_config(model),
            "parameters": builder.count_parameters(model),
            "step": step,
            "checkpoint": str(checkpoint.resolve(options.checkpoint)),
            "versions": _versions(),
        }
        print(json.dumps(found, allow_nan=False))
    else:
        print(_headline(options.split, score, dataset, model, step))
    return 0


def _score(
    model: models.AutoregressiveModel, dataset: data.DataSet, split: str, here: distributed.World, batch_size: int
) -> float:
    """Nats per image of a split."""
    with bar("images", len(dataset.splits[split]), split) as shown:
        nats = nats_per_image(model, dataset, split, here, batch_size=batch_size, progress=shown.update)
    assert nats is not None  # nothing stops it
    return nats


def sample(options: Namespace) -> int:
    """A grid of samples."""
    _check_out(options.out)
    model, facts = _load_model(options)
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    condition = cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = facts["data"]["classes"] if model.condition_channels else []
        if options.label not in classes:
            expected = f"a class of {', '.join(classes)}" if classes else "no label for a model without classes"
            raise ValueError(f"expected {expected}, got {options.label!r}")
        condition = data.conditions(torch.full((options.count,), classes.index(options.label)), len(classes))
    columns = options.columns or math.ceil(options.count**0.5)
    grid.check_size(options.out, options.count, columns, *shape[1:])
    drawn, finished = _draw(model, options, shape, options.count, condition=condition)
    if len(drawn):
        images = drawn / (model.levels - 1)
        _write(options.out, model, torch.full_like(images, 0.5), images, columns)
    return _end_of_drawing(options, len(drawn), finished, "samples")


def complete(options: Namespace) -> int:
    """A grid of images: the originals, what the model is shown of them, and its completions, a row each."""
    _check_out(options.out)
    model, facts = _load_model(options)
    dataset = _data_of(options, model, facts)
    split = dataset.splits[options.split]
    count = min(options.count, len(split))
    index = torch.linspace(0, len(split) - 1, count).long()  # spread over the split, which may be sorted
    originals, (_, height, width) = split.images[index], dataset.shape
    if options.hide in drawing.HIDDEN:
        known = drawing.known_pixels(options.hide, height, width)
    else:
        with images.pixel_limit():
            mask = images.read_image(Path(options.hide), gray=True)
        if tuple(mask.shape[1:]) != (height, width):
            got = "x".join(map(str, mask.shape[1:]))
            raise ValueError(
                f"expected a mask of {height}x{width} pixels, as the images have, got {got} in {options.hide}"
            )
        known = mask[None] < 128
    rows = options.completions
    grid.check_size(options.out, (2 + rows) * count, count, height, width)
    condition = None
    if model.condition_channels and split.labels is not None:
        condition = data.conditions(split.labels[index], model.condition_channels).repeat(rows, 1, 1, 1)
    drawn, finished = _draw(
        model,
        options,
        dataset.shape,
        rows * count,
        condition=condition,
        given=originals.repeat(rows, 1, 1, 1),
        known=known,
    )
    originals = originals / (model.levels - 1)
    shown = torch.where(known, originals, 0.5)
    # What Ctrl-C left undone stays hidden.
    undone = shown.repeat(rows, 1, 1, 1)[len(drawn) :]
    if len(drawn):
        before = torch.cat([originals, shown, shown.repeat(rows, 1, 1, 1)])
        after = torch.cat([originals, shown, drawn / (model.levels - 1), undone])
        _write(options.out, model, before, after, count, known)
    return _end_of_drawing(options, len(drawn), finished, "completions")


def _write(
    path: Path,
    model: models.AutoregressiveModel,
    before: Tensor,
    images: Tensor,
    columns: int,
    known: Tensor | None = None,
) -> None:
    """A grid of images, in a GIF as they are drawn from what was there ``before``."""
    if animation.is_animation(path):
        height, width = images.shape[2:]
        known = torch.zeros(1, 1, height, width, dtype=torch.bool) if known is None else known
        animation.write_animation(path, before, images, animation.drawing_order(model, known), columns)
    else:
        grid.write_grid(path, images, columns)


def _draw(
    model: models.AutoregressiveModel,
    options: Namespace,
    shape: tuple[int, int, int],
    count: int,
    **inputs: Tensor | None,
) -> tuple[Tensor, bool]:
    device = next(model.parameters()).device
    with bar("rows") as shown:
        return drawing.draw(
            model,
            count,
            shape,
            seed=options.seed,
            batch_size=options.batch_size,
            temperature=options.temperature,
            progress=follow(shown),
            **{name: tensor if tensor is None else tensor.to(device) for name, tensor in inputs.items()},
        )


def _end_of_drawing(options: Namespace, drawn: int, finished: bool, what: str) -> int:
    if finished:
        # Not behind the picture, where that went to the standard output.
        print(f"{drawn} {what}: {options.out}", file=sys.stdout if files.is_replaceable(options.out) else sys.stderr)
        return 0
    kept = f"{drawn} finished {what} are in {options.out}" if drawn else f"no {what} were finished"
    print(f"interrupted; {kept}", file=sys.stderr)
    return INTERRUPTED


def _check_out(path: Path) -> None:
    """Before minutes of sampling, not after."""
    target = Path(os.path.realpath(path))
    made = files.is_replaceable(path)
    if path.is_dir() or path.is_socket() or (made and not target.parent.is_dir()):
        raise FileNotFoundError(f"expected --out to name a file in a folder that exists, got {path}")
    if made:
        _check_writable(target.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"expected --out to name a file that can be written to, got {path}")
    grid.check_format(path)


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"expected --out in a folder that can be written to, got {folder}")


def _check_kernels(options: Namespace) -> None:
    """The source folder before the installed package is a mistake, and would cost hours."""
    if options.backend != "reference" and library.hidden_installation():
        raise ValueError(f"{library.why_no_native()}; or train slowly, with --backend reference")


def _why_slow(model: models.AutoregressiveModel, device: torch.device) -> str | None:
    """Why the plain PyTorch backend runs where the kernels were not given up; None where they run."""
    if model.backend == "reference" or (device.type == "cuda" and isinstance(model, models.PixelCNN)):
        return None
    return backends.why_not_native(device)


def _load_model(options: Namespace) -> tuple[models.AutoregressiveModel, dict[str, Any]]:
    """The model of the command's checkpoint, and the facts."""
    device = distributed.choose_device(options.device)
    model, facts = checkpoint.load_model(options.checkpoint, device)
    slow = _why_slow(model, device)
    if slow:
        warnings.warn(f"slow, by the plain PyTorch backend: {slow}", stacklevel=2)
    return model, facts


def _data_options(options: Namespace) -> dict[str, Any]:
    return _given(vars(options), data.OPTIONS)


def _given(options: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those of the options by name that are not left to their defaults."""
    return {name: options[name] for name in names if options.get(name) is not None}


def _data_of(options: Namespace, model: models.AutoregressiveModel, facts: dict[str, Any]) -> data.DataSet:
    """The data set of the command, by default that of the checkpoint's training, for this model."""
    dataset = load_again(facts, options.data, **_data_options(options))
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


def _header(command: str, training: Training) -> list[str]:
    dataset, here = training.data, training.world
    sizes = ", ".join(f"{split} {len(part)}" for split, part in dataset.splits.items())
    processes = f", {here.size} processes" if here.size > 1 else ""
    kernels = build_config()["instruction_set"] or "no native kernels"
    slow = _why_slow(training.model, here.device)
    return [
        f"command     {command}",
        f"data        {dataset.description}: {sizes}; {'x'.join(map(str, dataset.shape))}",
        *(f"            {note}" for note in dataset.notes),
        f"model       {type(training.model).__name__}({training.model.extra_repr()})",
        f"parameters  {parameters_in_words(training.model)}",
        f"training    {training.steps} steps, {training.order.steps_per_epoch} an epoch"
        + (f", from step {training.progress.step}" if training.progress.step else ""),
        f"versions    {', '.join(f'{name} {version}' for name, version in _versions().items())}",
        f"device      {_device(here.device)}, {torch.get_num_threads()} threads, {kernels}{processes}",
        *([f"slow        by the plain PyTorch backend: {slow}"] if slow else []),
    ]


def _versions() -> dict[str, str]:
    return {"pixelrnn_ext": VERSION, "torch": torch.__version__, "Python": platform.python_version()}


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _headline(split: str, score: float, dataset: data.DataSet, model: models.AutoregressiveModel, step: int) -> str:
    count = len(dataset.splits[split])
    kind = " ".join(filter(None, [getattr(model, "layer", None), type(model).__name__]))
    return f"{split}: {score:.4f} {dataset.unit}; {dataset.description}, {count} images; {kind}, step {step}"
