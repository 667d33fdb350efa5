"""The command line: ``pixelrnn train | evaluate | sample | complete | info``; ``python -m pixelrnn_ext`` is the same.

Exit status: 0, 2 for whatever the user can mend, with one sentence on stderr, and 130 after Ctrl-C.
"""

import argparse
import math
import os
import platform
import shlex
import sys
from dataclasses import fields
from pathlib import Path

import torch

from . import _backends, models
from ._library import VERSION, build_config
from .training import builder, checkpoint, data, distributed, drawing, images, optimiser
from .training.evaluation import nats_per_image
from .training.interrupt import Interrupt
from .training.loop import Settings, Training, check_fits, cycled_classes
from .training.optional import MissingPackage, need

INTERRUPTED = 130
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
# What a resumed training may have other than before.
MAY_CHANGE = {"command", "run", "out", "resume", "steps", "epochs", "samples", "save_every", "device", "backend"}


def main(argv: list[str] | None = None, prog: str = "pixelrnn") -> int:
    """Runs a command; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser, train_parser = _parsers(prog)
    options = parser.parse_args(argv)
    launched = "torchrun -m pixelrnn_ext" if "TORCHELASTIC_RUN_ID" in os.environ else prog
    command = f"{launched} {shlex.join(argv)}"
    try:
        if options.run is train:
            return train(options, command, lambda stored: _parse_again(train_parser, argv, stored))
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (OSError, TypeError, ValueError, FloatingPointError, MissingPackage, torch.OutOfMemoryError) as error:
        print(f"{prog}: {_sentence(error)}", file=sys.stderr)
        return 2


def info(options) -> int:
    """What was compiled in and what is missing."""
    config = build_config()
    width = max(map(len, config)) + 1
    for key, value in config.items():
        print(f"{key + ':':<{width}} {_readable(value)}")
    return 0


def train(options, command, parse_again) -> int:
    """Trains a model, and scores the best one on the test split."""
    last = Path(options.out) / checkpoint.LAST
    if last.parent.exists() and not last.parent.is_dir():
        raise NotADirectoryError(f"expected --out to be a folder, got {options.out}")
    if options.resume:
        stored = checkpoint.load(last)[1].get("arguments")
        if stored is None:
            raise ValueError(f"expected a checkpoint that this command wrote, got another one: {last}")
        options = parse_again(stored)
    elif last.exists():
        raise ValueError(f"{options.out} holds a training: expected --resume to go on with it, or another --out")
    if options.data is None or options.model is None:
        raise ValueError("expected --data and --model")
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    with distributed.world(options.device) as here:
        if not here.first:
            here.barrier()  # the first process downloads
        images_of = data.load(options.data, **_data_options(options))
        if here.first:
            here.barrier()
        torch.manual_seed(settings.seed)
        model = builder.build(
            options.model,
            images_of,
            conditional=options.conditional,
            parameters=options.parameters,
            **_given(options, MODEL_OPTIONS),
        )
        arguments = {name: value for name, value in vars(options).items() if name != "run"}
        say = need("tqdm").tqdm.write if here.first else lambda line: None
        facts = {"arguments": arguments, "command": command, "version": VERSION}
        training = Training(model, images_of, settings, here, Path(options.out), facts, say)
        if options.resume:
            training.resume(last)
        for line in _header(command, training):
            say(line)
        with Interrupt() as stop:
            if not training.run(stop):
                go_on = f"{command.split(' train ')[0]} train --out {shlex.quote(options.out)} --resume"
                say(f"stopped after step {training.progress.step}; to go on: {go_on}")
                return INTERRUPTED
        here.barrier()
        best, facts = checkpoint.load_model(last.with_name(checkpoint.BEST), here.device)
        score = images_of.score(nats_per_image(best, images_of, "test", here, batch_size=settings.batch_size))
        step = facts["progress"]["step"]
        if training.journal:
            training.journal.write("test", training.progress.step, score=score, best_step=step)
        say(_headline("test", score, images_of, best, step) + ", the best on validation")
    return 0


def evaluate(options) -> int:
    """The likelihood of a split."""
    device = distributed.choose_device(options.device)
    model, facts = checkpoint.load_model(options.checkpoint, device)
    images_of = _data_of(options, facts)
    check_fits(model, images_of)
    here = distributed.World(0, 1, device)
    count = len(images_of.splits[options.split])
    with need("tqdm").tqdm(total=count, unit=" images", leave=False, disable=None) as bar:
        nats = nats_per_image(model, images_of, options.split, here, batch_size=options.batch_size, progress=bar.update)
    print(_headline(options.split, images_of.score(nats), images_of, model, facts["progress"]["step"]))
    return 0


def sample(options) -> int:
    """A grid of samples."""
    _check_out(options.out)
    model, facts = checkpoint.load_model(options.checkpoint, distributed.choose_device(options.device))
    _, *size = facts["data"]["shape"]
    shape = (model.image_channels, *(options.size or size))
    condition = cycled_classes(options.count, model.condition_channels)
    if options.label is not None:
        classes = facts["data"]["classes"] if model.condition_channels else []
        if options.label not in classes:
            expected = f"a class of {', '.join(classes)}" if classes else "no label for a model without classes"
            raise ValueError(f"expected {expected}, got {options.label!r}")
        condition = data.conditions(torch.full((options.count,), classes.index(options.label)), len(classes))
    drawn, finished = _draw(model, options, shape, options.count, condition=condition)
    if len(drawn):
        images.write_grid(options.out, drawn / (model.levels - 1), options.columns or math.ceil(options.count**0.5))
    return _end_of_drawing(options, len(drawn), finished, "samples")


def complete(options) -> int:
    """A grid of images: the originals, what the model is shown of them, and its completions, a row each."""
    _check_out(options.out)
    device = distributed.choose_device(options.device)
    model, facts = checkpoint.load_model(options.checkpoint, device)
    images_of = _data_of(options, facts)
    check_fits(model, images_of)
    split = images_of.splits[options.split]
    count = min(options.count, len(split))
    index = torch.linspace(0, len(split) - 1, count).long()  # spread over the split, which may be sorted
    originals, (_, height, width) = split.images[index], images_of.shape
    if options.hide in drawing.HIDDEN:
        known = drawing.known_pixels(options.hide, height, width)
    else:
        mask = images.read_image(Path(options.hide), gray=True)
        if tuple(mask.shape[1:]) != (height, width):
            got = "x".join(map(str, mask.shape[1:]))
            raise ValueError(
                f"expected a mask of {height}x{width} pixels, as the images have, got {got} in {options.hide}"
            )
        known = mask[None] < 128
    rows = options.completions
    condition = None
    if model.condition_channels:
        condition = data.conditions(split.labels[index], model.condition_channels).repeat(rows, 1, 1, 1)
    drawn, finished = _draw(
        model,
        options,
        images_of.shape,
        rows * count,
        condition=condition,
        given=originals.repeat(rows, 1, 1, 1),
        known=known,
    )
    originals = originals / (model.levels - 1)
    shown = torch.where(known, originals, 0.5)
    # What Ctrl-C left undone stays hidden.
    undone = shown.repeat(rows, 1, 1, 1)[len(drawn) :]
    images.write_grid(options.out, torch.cat([originals, shown, drawn / (model.levels - 1), undone]), count)
    return _end_of_drawing(options, len(drawn), finished, "completions")


def _draw(model, options, shape, count, **inputs):
    device = next(model.parameters()).device
    with need("tqdm").tqdm(unit=" rows", leave=False, disable=None) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        return drawing.draw(
            model,
            count,
            shape,
            seed=options.seed,
            batch_size=options.batch_size,
            temperature=options.temperature,
            progress=progress,
            **{name: tensor if tensor is None else tensor.to(device) for name, tensor in inputs.items()},
        )


def _end_of_drawing(options, drawn, finished, what):
    if finished:
        print(f"{drawn} {what}: {options.out}")
        return 0
    kept = f"{drawn} finished {what} are in {options.out}" if drawn else f"no {what} were finished"
    print(f"interrupted; {kept}", file=sys.stderr)
    return INTERRUPTED


def _check_out(path):
    """Before minutes of sampling, not after."""
    if not path.parent.is_dir() or path.is_dir():
        raise FileNotFoundError(f"expected --out to name a file in a folder that exists, got {path}")


def _data_options(options):
    return _given(options, data.OPTIONS)


def _given(options, names):
    """The options of the command that are not left to their defaults."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _data_of(options, facts):
    """The data set of the command, else that of the checkpoint's training."""
    if options.data is not None:
        return data.load(options.data, **_data_options(options))
    if "arguments" not in facts:
        raise ValueError("expected --data, since the checkpoint does not say how its data set is loaded")
    return data.load(facts["arguments"]["data"], **_data_options(argparse.Namespace(**facts["arguments"])))


def _header(command, training):
    images_of, here = training.data, training.world
    sizes = ", ".join(f"{split} {len(part)}" for split, part in images_of.splits.items())
    parameters = builder.count_parameters(training.model)
    processes = f", {here.size} processes" if here.size > 1 else ""
    kernels = build_config()["instruction_set"] or "no native kernels"
    return [
        f"command     {command}",
        f"data        {images_of.description}: {sizes}; {'x'.join(map(str, images_of.shape))}",
        *(f"            {note}" for note in images_of.notes),
        f"model       {type(training.model).__name__}({training.model.extra_repr()})",
        f"parameters  {parameters}",
        f"training    {training.steps} steps, {training.order.steps_per_epoch} an epoch"
        + (f", from step {training.progress.step}" if training.progress.step else ""),
        f"versions    pixelrnn_ext {VERSION}, torch {torch.__version__}, Python {platform.python_version()}",
        f"device      {_device(here.device)}, {torch.get_num_threads()} threads, {kernels}{processes}",
    ]


def _device(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _headline(split, score, images_of, model, step):
    count = len(images_of.splits[split])
    kind = " ".join(filter(None, [getattr(model, "layer", None), type(model).__name__]))
    return f"{split}: {score:.4f} {images_of.unit}; {images_of.description}, {count} images; {kind}, step {step}"


def _parse_again(parser, argv, stored):
    """The options of a training with those that are given now, which must not contradict it."""
    length = ("steps", "epochs")
    others = {name: value for name, value in stored.items() if name not in length}
    options = parser.parse_args(argv[1:], argparse.Namespace(**others))
    if not any(getattr(options, name) for name in length):
        vars(options).update((name, stored[name]) for name in length)
    for name, value in vars(options).items():
        if name not in MAY_CHANGE and value != stored.get(name):
            option = "--" + name.replace("_", "-")
            raise ValueError(f"expected {option} {stored.get(name)}, with which the training began, got {value}")
    return options


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return str(value)


def _sentence(error):
    """An exception in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _size(text):
    sides = text.split("x")
    if not all(side.isdecimal() and int(side) for side in sides) or len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected a size such as 32 or 24x32 (height x width), got {text!r}")
    return [int(sides[0]), int(sides[-1])]


def _whole(least):
    """Type of an option that takes integers of at least ``least``."""

    def integer(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected an integer >= {least}, got {text!r}")
        return int(text)

    return integer


def _add_data(parser, what):
    group = parser.add_argument_group("data set")
    group.add_argument("--data", metavar="NAME[:PATH]", help=f"{what}: one of {', '.join(data.DATA_SETS)}")
    group.add_argument(
        "--binarisation", choices=data.BINARISATIONS, help="of mnist and mnist5k: once (default), or for every batch"
    )
    group.add_argument("--image-size", type=_size, metavar="HxW", help="folder: size of the images, 32x32 by default")
    group.add_argument(
        "--fit", choices=images.FITS, help="folder: scale and cut at the centre (default), scale, or cut"
    )
    group.add_argument("--gray", action="store_true", default=None, help="folder: one channel instead of three")
    group.add_argument(
        "--strict", action="store_true", default=None, help="folder: an unreadable file is an error, not skipped"
    )


def _add_device(parser):
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ...; a GPU by default where there is one")


def _add_drawing(parser, count):
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint, or the folder of a training: its best one"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    parser.add_argument("--count", type=_whole(1), default=count, help="images (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="the logits are divided by it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--batch-size", type=_whole(1), default=16, help="images drawn at once; Ctrl-C keeps whole batches"
    )
    _add_device(parser)


def _parsers(prog):
    """The command's parser, and that of ``train`` alone."""
    parser = argparse.ArgumentParser(prog=prog, description="Trains, scores and samples PixelRNN and PixelCNN.")
    parser.add_argument("--version", action="version", version=f"pixelrnn_ext {VERSION}")
    parser.set_defaults(run=info)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(run, summary):
        added = commands.add_parser(run.__name__, help=summary, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    command(info, "what was compiled in (the default)")

    trainer = command(train, "train a model")
    trainer.add_argument("--out", required=True, metavar="DIR", help="folder for checkpoints, log and pictures")
    trainer.add_argument("--resume", action="store_true", help="go on with the training in --out, with its options")
    _add_data(trainer, "what to train on")
    _add_device(trainer)
    model = trainer.add_argument_group("model")
    names = [*builder.KINDS, *models.CONFIGURATIONS]
    model.add_argument("--model", metavar="NAME", help=f"one of {', '.join(names)}")
    model.add_argument("--conditional", action="store_true", help="the model is told the class")
    model.add_argument("--parameters", type=_whole(1), help="choose hidden channels such that there are about so many")
    model.add_argument(
        "--layer", choices=("row", "diagonal"), help="multiscale: its recurrent layer, diagonal by default"
    )
    for option, help in (
        ("--hidden-channels", "h; the maps have 2h channels (16)"),
        ("--num-layers", "blocks (7)"),
        ("--head-channels", "of the 1x1 convolutions before the logits (32)"),
        ("--kernel-size", "of the Row LSTM, or of PixelCNN's blocks (3)"),
        ("--factor", "multiscale: how much smaller the small image is (2)"),
        ("--upsampling-channels", "multiscale: of the map that conditions the large model (32)"),
    ):
        model.add_argument(option, type=_whole(1), help=help)
    model.add_argument("--residual", action=argparse.BooleanOptionalAction, help="residual connections (yes)")
    model.add_argument("--skip", action=argparse.BooleanOptionalAction, help="skip connections to the head (no)")
    model.add_argument("--initial-state", choices=("learned", "zero"), help="outside the image (learned)")
    model.add_argument("--backend", choices=_backends.BACKENDS, help="of the recurrent layers (auto)")

    default = {field.name: field.default for field in fields(Settings)}
    training = trainer.add_argument_group("training")
    long = training.add_mutually_exclusive_group()
    long.add_argument("--steps", type=_whole(1), help="how many batches")
    long.add_argument("--epochs", type=_whole(1), help="how many times all images (20)")
    training.add_argument("--batch-size", type=_whole(1), help="of all processes together (%(default)s)")
    training.add_argument("--optimiser", choices=optimiser.OPTIMISERS, help="%(default)s by default")
    training.add_argument("--learning-rate", type=float, help="(%(default)s)")
    training.add_argument(
        "--schedule", choices=optimiser.SCHEDULES, help="of the learning rate, %(default)s by default"
    )
    training.add_argument("--warmup", type=_whole(0), help="steps over which the learning rate rises (%(default)s)")
    training.add_argument("--clip", type=float, help="largest norm of the gradient (%(default)s; 0: none)")
    training.add_argument(
        "--ema", type=float, metavar="DECAY", help="score a moving average of the weights, such as 0.999"
    )
    training.add_argument("--bf16", action="store_true", help="train under bfloat16 autocast")
    training.add_argument("--flip", action="store_true", help="mirror images at random")
    training.add_argument("--seed", type=int, help="(%(default)s)")
    training.add_argument(
        "--samples", type=_whole(0), help="in the picture after each epoch (%(default)s; 0: no picture)"
    )
    training.add_argument(
        "--save-every", type=_whole(1), help="steps between checkpoints inside an epoch (%(default)s)"
    )
    trainer.set_defaults(**default)

    evaluator = command(evaluate, "score a model")
    evaluator.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint, or the folder of a training: its best one"
    )
    _add_data(evaluator, "what to score, by default what it was trained on")
    evaluator.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
    evaluator.add_argument("--batch-size", type=_whole(1), default=16, help="images at once (%(default)s)")
    _add_device(evaluator)

    sampler = command(sample, "draw images")
    _add_drawing(sampler, 16)
    sampler.add_argument("--size", type=_size, metavar="HxW", help="of an image, by default as in training")
    sampler.add_argument("--columns", type=_whole(1), help="of the picture")
    sampler.add_argument("--label", help="class of all images; by default one class after the other")

    completer = command(complete, "draw hidden parts of images")
    _add_drawing(completer, 8)
    completer.add_argument(
        "--hide",
        default="lower-half",
        metavar="WHAT",
        help="lower-half (default), box, or an image file of the images' size: white is hidden",
    )
    completer.add_argument("--completions", type=_whole(1), default=3, help="rows of the picture (%(default)s)")
    _add_data(completer, "whose images, by default what it was trained on")
    completer.add_argument("--split", choices=data.SPLITS, default="test", help="%(default)s by default")
    return parser, trainer
